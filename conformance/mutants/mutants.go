package main

// A mutant is the library with a mistake in it.
type mutant struct {
	name  string
	edits []edit
}

// An edit replaces text that occurs once in a file.
type edit struct{ file, from, to string }

func one(name, file, from, to string) mutant { return mutant{name, []edit{{file, from, to}}} }

var mutants = []mutant{
	// Landing.
	{"waiters are released before the key is free", []edit{
		{"flight.go", "		w.release()\n", ""},
		{"flight.go", "	if a == nil {\n		a = d.Leave(f)\n	}\n", `	if w := f.waiters; w != nil {
		w.result = *res
		w.result.shared = f.callers() > 1
		w.release()
	}
	if a == nil {
		a = d.Leave(f)
	}
`},
	}},
	{"shared is computed before the key is free", []edit{
		{"flight.go", "	if a == nil {\n		a = d.Leave(f)\n	}\n", "	res.shared = f.callers() > 1\n	if a == nil {\n		a = d.Leave(f)\n	}\n"},
		{"flight.go", "	res.shared = callers > 1\n", ""},
	}},
	one("landing frees the key of a successor", "messages.go",
		"if s.flights[f.key] == f {", "if true {"),
	one("done is answered before the claim is released", "messages.go",
		"	beginNext(o, f)\n	f.turn <- struct{}{}\n", "	f.turn <- struct{}{}\n	beginNext(o, f)\n"),
	{"forget is answered before the claim is released", []edit{
		{"messages.go", "	m.free <- free\n", ""},
		{"messages.go", "	if ok && free {\n", "	m.free <- free\n	if ok && free {\n"},
	}},
	one("forget is not answered", "group.go",
		"	return <-m.free\n", "	return !ifUnshared || <-m.free\n"),
	one("Forget clears the map", "messages.go",
		"		delete(s.flights, m.key)\n", "		clear(s.flights)\n"),
	{"a landed flight leaves its key in the map", []edit{
		{"messages.go", "		delete(s.flights, f.key)\n", "		s.flights[f.key] = nil\n"},
		{"messages.go", "	if f, ok := s.flights[c.key]; !ok {\n", "	if f := s.flights[c.key]; f == nil {\n"},
		{"messages.go", "	f, ok := s.flights[m.key]\n	free :=", "	f := s.flights[m.key]\n	ok := f != nil\n	free :="},
	}},
	one("turn is unbuffered", "messages.go",
		"make(chan struct{}, 2)", "make(chan struct{})"),
	one("turn has no room for the landing", "messages.go",
		"make(chan struct{}, 2)", "make(chan struct{}, 1)"),
	one("the channel for the answer to forget is unbuffered", "messages.go",
		"make(chan bool, 1)", "make(chan bool)"),
	one("channels receive in reverse order", "state.go",
		"w.channels = append(w.channels, c.results)", "w.channels = append([]chan ResultOf[V]{c.results}, w.channels...)"),
	one("only the first row of waiters is released", "flight.go",
		"first < len(w.turns); first += row", "first < min(1, len(w.turns)); first += row"),
	one("the first of a row panics or exits before it wakes the others", "flight.go", `	for _, turn := range restOfRow(seat, w.turns) {
		turn <- struct{}{}
	}
	return w.result.deliver()
`, `	v, err, shared = w.result.deliver()
	for _, turn := range restOfRow(seat, w.turns) {
		turn <- struct{}{}
	}
	return v, err, shared
`),

	// Endings of fn.
	{"a waiting Do ignores Goexit", []edit{
		{"flight.go", "		runtime.Goexit()\n", ""},
		{"flight.go", "	\"runtime\"\n", ""},
	}},
	one("the stack of a panic is cut short", "flight.go",
		"	stack := debug.Stack()\n", "	stack := debug.Stack()\n	stack = stack[:min(512, len(stack))]\n"),
	one("DoChan ignores Goexit", "flight.go",
		"			res.err = ErrGoexit\n", ""),
	one("Goexit is mistaken for a return", "flight.go",
		"			res.err = ErrGoexit\n", "			res.err, res.ending = ErrGoexit, returned\n"),
	one("a panic with a DoChan waiter does not crash", "flight.go",
		"		go panic(res.err) // where nothing can recover it\n		select {}         // keep this goroutine in the crash dump\n", ""),
	one("a returned PanicError is mistaken for a panic", "flight.go",
		"	switch r.ending {\n", "	if _, ok := r.err.(*PanicError); ok {\n		r.ending = panicked\n	}\n	switch r.ending {\n"),

	// Memory that is kept.
	one("an activation that is over stays at the address", "actor/actor.go",
		"		o.address.current.CompareAndSwap(&o.entry, nil) // keep nothing\n", ""),
	{"the first flight is kept by the owner", []edit{
		{"state.go", "	if o.Note != nil {\n", "	if o.State.flights == nil {\n"},
		{"state.go", "		o.Note = nil // do not keep the flight until the owner ends\n", ""},
	}},
	one("a claim is not released when a call joins", "messages.go",
		"	if c.answer != leads {\n		release(o)\n", "	if c.answer > leads {\n		release(o)\n"),

	{"a waiting Do keeps its fn", []edit{
		{"flight.go", "await(turn chan struct{}, seat int) (v V, err error, shared bool) {\n", "await(turn chan struct{}, seat int, fn func() (V, error)) (v V, err error, shared bool) {\n	defer runtime.KeepAlive(fn)\n"},
		{"group.go", "c.on.waiters.await(c.turn, c.seat)", "c.on.waiters.await(c.turn, c.seat, fn)"},
		{"context.go", "c.on.waiters.await(c.turn, c.seat)", "c.on.waiters.await(c.turn, c.seat, nil)"},
	}},
	one("a waiting Do keeps its key", "group.go",
		"			return c.on.waiters.await(c.turn, c.seat)\n", "			defer func() { c.on = nil }()\n			return c.on.waiters.await(c.turn, c.seat)\n"),
	{"the owner keeps the calls that have joined", []edit{
		{"state.go", "	channels []chan ResultOf[V] // of DoChan\n", "	channels []chan ResultOf[V] // of DoChan\n	calls    []any\n"},
		{"state.go", "		w.channels = append(", "		w.calls = append(w.calls, c)\n		w.channels = append("},
	}},

	// The cost of a call, and the goroutine of fn.
	{"Do lets fn escape", []edit{
		{"messages.go", "	answer answer\n", "	answer answer\n	do     func() (V, error)\n"},
		{"group.go", "		f = c.on\n	}\n	var r", "		f, c.do = c.on, fn\n	}\n	var r"},
	}},
	{"the owner starts the goroutine that leads", []edit{
		{"messages.go", "	answer answer\n", "	answer answer\n	start  func()\n"},
		{"messages.go", "		s.flights[c.key] = c.found(true)\n", "		s.flights[c.key] = c.found(true)\n		if c.start != nil {\n			go c.start()\n		}\n"},
		{"group.go", "		c = ask(a, newCall(key, results))\n		if c.answer == joined {\n", "		c = newCall(key, results)\n		c.start = func() { leadChan(d, a, &c.flight, c, fn) }\n		ask(a, c)\n		if c.answer <= leads {\n"},
	}},

	// Calls that leave.
	one("a call with a context that is done begins a flight", "context.go",
		"	if err := ctx.Err(); err != nil {\n", "	if err := ctx.Err(); err != nil && false {\n"),
	one("a call whose context never ends leads in another goroutine", "context.go",
		"	if done == nil {\n", "	if false {\n"),
	one("Done is called again", "context.go",
		"	if waitOrLeave(&g.address, l, done); l.left {\n		return v,", "	if waitOrLeave(&g.address, l, ctx.Done()); l.left {\n		return v,"),
	one("DoChanContext returns before it has asked the owner", "context.go",
		"	l, err := g.board(ctx, key, fn) // before DoChanContext returns\n	if err != nil {\n		results <- ResultOf[V]{Err: err}\n		return results\n	}\n	go func() {\n",
		"	go func() {\n		l, err := g.board(ctx, key, fn)\n		if err != nil {\n			results <- ResultOf[V]{Err: err}\n			return\n		}\n"),
	one("a call registers with its context", "context.go",
		"	d := &g.address\n	r := g.request(ctx, fn)\n", "	context.AfterFunc(ctx, func() {})\n	d := &g.address\n	r := g.request(ctx, fn)\n"),
	one("a leave is lost", "context.go",
		"		if a, ok := d.Claim(); ok {\n			a.Send(leave[K, V]{l})\n			<-l.turn // for the answer, or the landing\n		}\n", ""),
	one("a call does not wait for the answer to its leave", "context.go",
		"			<-l.turn // for the answer, or the landing\n", ""),
	one("a leave is not answered", "messages.go",
		"	release(o)\n	l.turn <- struct{}{}\n", "	release(o)\n"),
	one("a call leaves though its flight has landed", "messages.go",
		"	if next, ok := s.find(l.flight); ok {\n", "	if next, ok := s.find(l.flight); ok || true {\n"),
	one("a leave in a later activation is mistaken for one on time", "state.go",
		"	if !ok || current == f {\n		return nil, ok\n", "	if !ok || current == f || s.next[current.waiters] == nil {\n		return nil, true\n"),
	one("the last leaver does not learn its new seat", "messages.go",
		"		w.leavers[len(w.leavers)-1].seat = l.seat\n", ""),
	one("the seat of a call that has left stays empty", "state.go",
		"	list[seat], list[last] = list[last], nil\n", "	list[last] = nil\n"),
	one("a call that has left is counted", "state.go",
		"	return list[:last]\n", "	return list\n"),
	one("shared counts the calls that have left", "flight.go",
		"	res.shared = callers > 1\n", "	res.shared = callers > 1 || w != nil && cap(w.leavers) > 1\n"),
	one("only the first row of leavers is released", "flight.go",
		"first < len(w.leavers); first += row", "first < min(1, len(w.leavers)); first += row"),
	one("the first of a row of leavers does not release the others", "context.go",
		"	for _, l := range restOfRow(l.seat, l.flight.waiters.leavers) {\n", "	for _, l := range restOfRow(l.seat, l.flight.waiters.leavers)[:0] {\n"),
	one("a flight keeps the fn of a call that left before it began", "messages.go",
		"	c.request, c.leaver = nil, nil // or the flight embedded in c would keep them\n", ""),
	one("a flight keeps the fn of the calls that waited for it", "state.go",
		"	delete(s.next, f.waiters)\n	f = next.flight\n", "	delete(s.next, f.waiters)\n	f = next.flight\n	if s.next != nil {\n		s.next[f.waiters] = next\n	}\n"),
	one("a panic with a DoChanContext waiter does not crash", "context.go",
		"		if r.ending == panicked {\n			panic(r.err)\n		}\n", ""),

	// The context of fn.
	one("fn's context has a caller's deadline", "context.go",
		"func (origin[K, V]) Deadline() (deadline time.Time, ok bool) { return deadline, false }", "func (o origin[K, V]) Deadline() (deadline time.Time, ok bool) { return o.flight.values.Deadline() }"),
	one("fn's context has no values", "context.go",
		"	w.values, w.group = r.ctx,", "	w.values, w.group = context.Background(),"),
	one("fn's context ends with every caller that leaves", "context.go",
		"		if l.last {\n", "		if l.flight.waiters.abandon != nil {\n"),
	one("fn's context does not end", "context.go",
		"			l.flight.waiters.abandon(ErrAbandoned)\n", ""),
	one("fn's context ends without a cause", "context.go",
		"			l.flight.waiters.abandon(ErrAbandoned)\n", "			l.flight.waiters.abandon(nil)\n"),
	one("fn's context ends when fn returns", "flight.go",
		"	lead(w.group, a, f, withContext, &w.result)\n", "	defer w.abandon(nil)\n	lead(w.group, a, f, withContext, &w.result)\n"),

	// Abandoned flights, and the flights that wait for them.
	one("a call joins an abandoned flight", "messages.go",
		"	} else if f.callers() > 0 {\n", "	} else if f.callers() >= 0 {\n"),
	one("a function begins beside an abandoned one", "messages.go",
		"	} else {\n		s.wait(c, f)\n	}\n", "	} else {\n		c.answer = leads\n		s.forgotten = map[*flight[K, V]]struct{}{f: {}}\n		s.flights[c.key] = c.found(true)\n	}\n"),
	one("fn begins though all callers have left", "flight.go",
		"		if err := w.context.Err(); err != nil {\n", "		if err := w.context.Err(); err != nil && false {\n"),
	one("a panic of an abandoned flight is lost", "flight.go",
		"callers == 0 || f.results", "f.results"),
	one("a flight that waits does not begin", "messages.go",
		"	beginNext(o, f)\n	f.turn", "	release(o)\n	f.turn"),
	one("a flight that waits begins twice", "state.go",
		"	delete(s.next, f.waiters)\n", ""),
	one("a flight that begins gets no claim", "messages.go",
		"	beginNext(o, f)\n	f.turn", "	next := s.next[f.waiters]\n	if beginNext(o, f); next != nil {\n		release(o)\n	}\n	f.turn"),
	one("a flight that waits begins though all callers have left", "messages.go",
		"			delete(s.next, next.after) // it will not begin\n", ""),
	one("a flight begins with the function of a call that has left", "messages.go",
		"			next.requests = vacate(next.requests, l.seat)\n", "			next.requests = next.requests[:len(next.requests)-1]\n"),
	one("Forget begins nothing", "messages.go",
		"		beginNext(o, f)\n	} else", "		release(o)\n	} else"),
	one("ForgetUnshared forgets a flight that calls wait for", "messages.go",
		"f.callers() <= 1 && s.next[f.waiters] == nil\n", "f.callers() <= 1\n"),
	one("a Do joins a flight whose callers may all leave before it begins", "state.go",
		"	} else if next.requests != nil && c.leaver == nil {\n", "	} else if false {\n"),
	one("a Do takes a flight over from a Do", "state.go",
		"	} else if next.requests != nil && c.leaver == nil {\n", "	} else if c.leaver == nil {\n"),

	// Calls that would wait for themselves.
	one("no circle is detected", "messages.go",
		"	} else if c.request != nil && s.awaits(f.waiters, c.request.inside) {\n", "	} else if false {\n"),
	one("a circle of two is not detected", "deadlock.go",
		"			if visit(outer) {\n", "			if outer == w {\n"),
	one("a circle of three is not detected", "deadlock.go",
		"			if visit(outer) {\n", "			if outer == w || s.nested[outer][w] > 0 {\n"),
	one("a circle through a flight that waits is not detected", "deadlock.go",
		"		return next != nil && visit(next.flight.waiters)\n", "		return next != nil && false\n"),
	one("the first call of a flight closes no circle", "messages.go",
		"	if c.request != nil && c.answer != refused {\n", "	if c.request != nil && c.answer == joined {\n"),
	one("a call that has left closes a circle", "messages.go",
		"		s.unnest(w, l.inside)\n", ""),
	one("a call that leaves removes the others of its function", "deadlock.go",
		"	s.nested[w][inside]--\n", "	s.nested[w][inside] = 0\n"),
	one("a flight that has landed closes a circle", "messages.go",
		"	delete(s.nested, f.waiters)\n", ""),

	// InFlight and Wait.
	one("a forgotten flight is not in flight", "messages.go",
		"		s.forgotten[f] = struct{}{}\n", ""),
	one("a forgotten flight is in flight when it has landed", "messages.go",
		"		delete(s.forgotten, f)\n", ""),
	one("InFlight does not count the leader", "inspect.go",
		"Callers: f.callers(), ", "Callers: max(1, f.callers()-1), "),
	one("channels are not counted as callers", "state.go",
		"len(w.channels) + ", ""),
	one("InFlight omits the flight that waits", "messages.go",
		"			all = append(all, next.flight.describe(Waiting))\n", "			_ = next\n"),
	one("a flight that waits shows a context", "inspect.go",
		" && s != Waiting", ""),
	one("an abandoned flight is shown as flying", "inspect.go",
		"		d.State = Abandoned\n", ""),
	one("Wait returns when the next claim is released", "messages.go",
		"	if o.Release() && o.State.rest != nil {\n		close(o.State.rest)\n", "	if o.Release(); o.State.rest != nil {\n		close(o.State.rest)\n		o.State.rest = nil\n"),
	one("Wait does not return", "messages.go",
		"		close(o.State.rest)\n", ""),
	one("Wait keeps the activation alive", "messages.go",
		"	release(o)\n	m.rest <- s.rest\n", "	m.rest <- s.rest\n"),
	one("each Wait has its own channel", "messages.go",
		"	if s.rest == nil {\n", "	if old := s.rest; old != nil {\n		s.rest = make(chan struct{})\n		go func(c chan struct{}) { <-c; close(old) }(s.rest)\n	} else {\n"),
	one("Wait does not give up", "inspect.go",
		"	case <-done:\n		return ctx.Err()\n", "	case <-done:\n		<-(<-chan struct{})(nil)\n		return nil\n"),
	one("Wait waits for the first shard only", "inspect.go",
		"		if err := s.shards[i].Wait(ctx); err != nil {\n			return err\n		}\n", "		return s.shards[i].Wait(ctx)\n"),

	// Bad input.
	one("unhashable keys are not checked", "group.go",
		"	_ = map[K]struct{}(nil)[key]\n", ""),
	one("keys that do not equal themselves are not checked", "group.go",
		"	if key != key {", "	if false {"),
	one("keys that do not equal themselves cannot be found", "group.go",
		"		return new(GroupOf[K, V]), zero\n", "		_ = zero\n		return new(GroupOf[K, V]), key\n"),

	// Shards.
	one("every group has its own hash", "sharded.go",
		"maphash.Comparable(seed, key)", "maphash.Comparable(maphash.MakeSeed(), key)"),
	one("all keys are in one shard", "sharded.go",
		"maphash.Comparable(seed, key)%shards", "maphash.Comparable(seed, key)%1"),

	// Misuse of package actor.
	one("a second Leave evicts the caller that is alone", "actor/actor.go",
		"e != nil && &e.note == alone && ", "e != nil && e.activation == nil && "),
	one("a caller may leave an activation twice", "actor/actor.go",
		"	e.activation.note = nil\n", ""),
	one("a claim may be released twice", "actor/actor.go",
		"	o.claimed = false\n", ""),
	one("a message may be sent to an activation that is over", "actor/actor.go",
		"	if a.claims.Load() < 0 {\n", "	if false {\n"),
	one("a message may be lost with an activation", "actor/actor.go",
		"	if len(a.mailbox) > 0 {\n", "	if false {\n"),
	one("a message may be nil", "actor/actor.go",
		"	if m == nil {\n", "	if false {\n"),

	// The life cycle.
	one("over is too close to zero", "actor/actor.go",
		"const over = math.MinInt64\n", "const over = -2\n\nvar _ = math.MinInt64\n"),
	{"claims have 32 bits", []edit{
		{"actor/actor.go", "const over = math.MinInt64\n", "const over = math.MinInt32\n"},
		{"actor/actor.go", "	claims atomic.Int64 //", "	claims atomic.Int32 //"},
		{"actor/actor.go", "	released int64 //", "	released int32 //"},
	}},
	{"an entry is visible before it is complete", []edit{
		{"actor/actor.go", "e = &entry[S, N]{note: note}", "e = new(entry[S, N])"},
		{"actor/actor.go", "				return nil, &e.note\n", "				e.note = note\n				return nil, &e.note\n"},
	}},
	{"the address is cleared before the activation is over", []edit{
		{"actor/actor.go", "	if o.claims.CompareAndSwap(o.released, over) {\n		o.address.current.CompareAndSwap(&o.entry, nil) // keep nothing\n",
			"	if o.claims.Load() == o.released {\n		o.address.current.CompareAndSwap(&o.entry, nil)\n		if !o.claims.CompareAndSwap(o.released, over) {\n			return\n		}\n"},
	}},
	{"zero claims are mistaken for over", []edit{ // the yield between the two steps makes it reproducible
		{"actor/actor.go", "	\"math\"\n", "	\"math\"\n	\"runtime\"\n"},
		{"actor/actor.go", "	if o.claims.CompareAndSwap(o.released, over) {\n",
			"	if o.claims.Load() == o.released {\n		runtime.Gosched()\n		o.claims.Store(over)\n"},
	}},
	one("a claim is made though the activation is over", "actor/actor.go",
		"			if a.claims.Add(1) >= 0 {", "			if a.claims.Add(1); true {"),
	one("a caller that enters displaces others", "actor/actor.go",
		"			if d.current.CompareAndSwap(nil, e) {", "			if d.current.Store(e); true {"),
	one("a caller that leaves does not see that others have come", "actor/actor.go",
		"&e.note == alone && d.current.CompareAndSwap(e, nil) {\n", "&e.note == alone {\n		d.current.Store(nil)\n"),
	one("two callers begin two activations", "actor/actor.go",
		"		if d.current.CompareAndSwap(e, &fresh.entry) {", "		if d.current.Store(&fresh.entry); true {"),
	{"the owner yields before it waits", []edit{
		{"actor/actor.go", "		m := <-a.mailbox\n", "		if len(a.mailbox) == 0 {\n			runtime.Gosched()\n		}\n		m := <-a.mailbox\n"},
		{"actor/actor.go", "	\"math\"\n", "	\"math\"\n	\"runtime\"\n"},
	}},
	one("the owner adopts the first flight after the first message", "messages.go",
		"	c, s := m.call, stateOf(o)\n", "	c, s := m.call, &o.State\n	if o.Note != nil {\n		clear(stateOf(o).flights)\n	}\n"),
	{"the owner starts after its starter has sent", []edit{
		{"actor/actor.go", "	\"math\"\n", "	\"math\"\n	\"runtime\"\n"},
		{"actor/actor.go", "	claims atomic.Int64 // claims made, or over; 64 bits, because it only grows\n", `	claims atomic.Int64

	pending atomic.Bool
	starter [24]byte
	found   *N
`},
		{"actor/actor.go", "			fresh.claims.Store(2) // the caller's, and that of the caller that is alone\n", `			fresh.claims.Store(2)
			fresh.pending.Store(true)
			fresh.starter = goroutine()
`},
		{"actor/actor.go", "			go fresh.own(&e.note) // before any Send: others may fill the mailbox\n", "			fresh.found = &e.note\n"},
		{"actor/actor.go", "	a.mailbox <- m\n}\n", `	a.mailbox <- m
	if a.pending.Load() && a.starter == goroutine() {
		a.pending.Store(false)
		go a.own(a.found)
		a.found = nil
	}
}

// goroutine names the current goroutine.
func goroutine() (name [24]byte) {
	runtime.Stack(name[:], false)
	return name
}
`},
	}},
}
