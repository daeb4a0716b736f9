package main

// A mutant is the library with something wrong in it.
type mutant struct {
	name  string
	edits []edit
}

// An edit replaces text that stands once in a file.
type edit struct{ file, from, to string }

func one(name, file, from, to string) mutant { return mutant{name, []edit{{file, from, to}}} }

var mutants = []mutant{
	// Of the landing.
	{"waiters are released before the key is free", []edit{
		{"flight.go", "	if a == nil {\n		a = d.Leave(f)\n	}\n", `	if f.waiters != nil {
		f.waiters.release(r)
	}
	if a == nil {
		a = d.Leave(f)
	}
`},
		{"flight.go", "	if w != nil {\n		w.release(r)\n	}\n", ""},
	}},
	{"shared is computed before the key is free", []edit{
		{"flight.go", "	if a == nil {\n		a = d.Leave(f)\n	}\n", "	shared = f.waiters != nil\n	if a == nil {\n		a = d.Leave(f)\n	}\n"},
		{"flight.go", "ResultOf[V]{r.val, r.err, w != nil}", "ResultOf[V]{r.val, r.err, shared}"},
		{"flight.go", "	return w != nil\n", "	return shared\n"},
	}},
	one("landing frees the key of a successor", "messages.go",
		"if s.flights[f.key] == f {", "if true {"),
	one("done is answered before the claim is released", "messages.go",
		"	release(o)\n	f.turn <- struct{}{}\n", "	f.turn <- struct{}{}\n	release(o)\n"),
	one("forget is answered before the claim is released", "messages.go",
		"	release(o)\n	m.free <- free\n", "	m.free <- free\n	release(o)\n"),
	one("forget is not answered", "group.go",
		"	return <-m.free\n", "	return !ifUnshared || <-m.free\n"),
	one("Forget clears the map", "messages.go",
		"		delete(s.flights, m.key)\n", "		clear(s.flights)\n"),
	{"a landed flight leaves its key in the map", []edit{
		{"messages.go", "		delete(s.flights, f.key)\n", "		s.flights[f.key] = nil\n"},
		{"messages.go", "	if f, ok := s.flights[c.key]; ok {\n", "	if f := s.flights[c.key]; f != nil {\n"},
		{"messages.go", "	f, ok := s.flights[m.key]\n	free :=", "	f := s.flights[m.key]\n	ok := f != nil\n	free :="},
	}},
	one("turn has no room", "messages.go",
		"make(chan struct{}, 2)", "make(chan struct{})"),
	one("turn has no room for the landing", "messages.go",
		"make(chan struct{}, 2)", "make(chan struct{}, 1)"),
	one("the answer to forget has no room", "messages.go",
		"make(chan bool, 1)", "make(chan bool)"),
	one("channels receive last first", "messages.go",
		"w.channels = append(w.channels, c.results)", "w.channels = append([]chan ResultOf[V]{c.results}, w.channels...)"),
	one("only the first row of waiters is released", "flight.go",
		"first < len(w.turns); first += row", "first < min(1, len(w.turns)); first += row"),
	one("a row is released by whoever panics or exits first", "flight.go", `	w.releaseRow(seat)
	return w.result.deliver()
`, `	v, err := w.result.deliver()
	w.releaseRow(seat)
	return v, err
`),

	// Of endings.
	{"Goexit is forgotten for a waiting Do", []edit{
		{"flight.go", "		runtime.Goexit()\n", ""},
		{"flight.go", "	\"runtime\"\n", ""},
	}},
	one("the stack of a panic is cut", "flight.go",
		"	stack := debug.Stack()\n", "	stack := debug.Stack()\n	stack = stack[:min(512, len(stack))]\n"),
	one("Goexit is forgotten for DoChan", "flight.go",
		"			r.err = ErrGoexit\n", ""),
	one("Goexit is taken for a return", "flight.go",
		"			r.err = ErrGoexit\n", "			r.err, r.ending = ErrGoexit, returned\n"),
	one("a panic with a DoChan waiter is no crash", "flight.go",
		"		go panic(r.err) // where nobody can recover it\n		select {}       // stay, for the crash dump\n", ""),
	one("a returned PanicError is taken for a panic", "flight.go",
		"	switch r.ending {\n", "	if _, ok := r.err.(*PanicError); ok {\n		r.ending = panicked\n	}\n	switch r.ending {\n"),

	// Of what is kept.
	one("an activation that is over stays at the address", "actor/actor.go",
		"		o.address.current.CompareAndSwap(&o.entry, nil) // keep nothing\n", ""),
	{"the first flight is kept by the owner", []edit{
		{"messages.go", "	if o.Left != nil {\n", "	if o.State.flights == nil {\n"},
		{"messages.go", "		o.Left = nil // it may land before the owner ends, and need not be kept\n", ""},
	}},
	one("a claim is not released when a call joins", "messages.go",
		"		f.join(c)\n		release(o)\n", "		f.join(c)\n"),

	{"a waiting Do keeps its fn", []edit{
		{"flight.go", "await(turn chan struct{}, seat int) (V, error) {\n", "await(turn chan struct{}, seat int, fn func() (V, error)) (V, error) {\n	defer runtime.KeepAlive(fn)\n"},
		{"group.go", "c.joined.await(c.turn, c.seat)", "c.joined.await(c.turn, c.seat, fn)"},
	}},
	one("a waiting Do keeps its key", "group.go",
		"			v, err = c.joined.await(c.turn, c.seat)\n", "			defer func() { c.joined = nil }()\n			v, err = c.joined.await(c.turn, c.seat)\n"),
	{"the owner keeps the calls that have joined", []edit{
		{"messages.go", "	channels []chan ResultOf[V] // of DoChan\n", "	channels []chan ResultOf[V] // of DoChan\n	calls    []any\n"},
		{"messages.go", "	w := f.waiters\n", "	w := f.waiters\n	w.calls = append(w.calls, c)\n"},
	}},

	// Of what a call costs its caller, and shows of it.
	{"Do lets fn escape", []edit{
		{"messages.go", "	seat   int         // where in joined.turns a Do is\n", "	seat   int\n	fn     func() (V, error)\n"},
		{"group.go", "		f = &c.flight\n	}\n	var r", "		f, c.fn = &c.flight, fn\n	}\n	var r"},
	}},
	{"the owner starts the goroutine that leads", []edit{
		{"messages.go", "	seat   int         // where in joined.turns a Do is\n", "	seat   int\n	start  func()\n"},
		{"messages.go", "		s.flights[c.key] = &c.flight\n	}\n", "		s.flights[c.key] = &c.flight\n		if c.start != nil {\n			go c.start()\n		}\n	}\n"},
		{"group.go", "		c := ask(a, newCall(key, results))\n		if c.joined != nil {\n			return results\n		}\n		f = &c.flight\n	}\n",
			"		c := newCall(key, results)\n		c.start = func() { leadChan(d, a, &c.flight, fn) }\n		ask(a, c)\n		return results\n	}\n"},
	}},

	// Of what is in flight, and the wait for its end.
	one("a forgotten flight is not in flight", "messages.go",
		"		s.forgotten[f] = struct{}{}\n", ""),
	one("a forgotten flight is in flight when it has landed", "messages.go",
		"		delete(s.forgotten, f)\n", ""),
	one("InFlight does not count the leader", "messages.go",
		"	return 1 + len(", "	return 0 + len("),
	one("InFlight does not count those who wait at channels", "messages.go",
		"len(f.waiters.channels) + ", ""),
	one("Wait returns when the next claim is released", "messages.go",
		"	if o.Release() && o.State.rest != nil {\n		close(o.State.rest)\n", "	if o.Release(); o.State.rest != nil {\n		close(o.State.rest)\n		o.State.rest = nil\n"),
	one("Wait does not return", "messages.go",
		"		close(o.State.rest)\n", ""),
	one("Wait keeps the activation alive", "messages.go",
		"	release(o)\n	m.rest <- s.rest\n", "	m.rest <- s.rest\n"),
	one("each Wait has a channel", "messages.go",
		"	if s.rest == nil {\n", "	if old := s.rest; old != nil {\n		s.rest = make(chan struct{})\n		go func(c chan struct{}) { <-c; close(old) }(s.rest)\n	} else {\n"),
	one("Wait does not give up", "inspect.go",
		"	case <-done:\n		return ctx.Err()\n", "	case <-done:\n		<-(<-chan struct{})(nil)\n		return nil\n"),
	one("Wait waits for the first shard only", "inspect.go",
		"		if err := s.shards[i].Wait(ctx); err != nil {\n			return err\n		}\n", "		return s.shards[i].Wait(ctx)\n"),

	// Of bad input.
	one("unhashable keys are not checked", "group.go",
		"	_ = map[K]struct{}(nil)[key]\n", ""),
	one("keys that do not equal themselves are not checked", "group.go",
		"	if key != key {", "	if false {"),

	// Of the shards.
	one("every group has its own hash", "sharded.go",
		"maphash.Comparable(seed, key)", "maphash.Comparable(maphash.MakeSeed(), key)"),
	one("all keys are in one shard", "sharded.go",
		"maphash.Comparable(seed, key)%shards", "maphash.Comparable(seed, key)%1"),

	// Of misuse of package actor.
	one("a second Leave evicts the caller that is alone", "actor/actor.go",
		"e != nil && &e.left == alone && ", "e != nil && e.activation == nil && "),
	one("a caller leaves an activation twice", "actor/actor.go",
		"	e.activation.alone = nil\n", ""),
	one("a claim is released twice", "actor/actor.go",
		"	o.claimed = false\n", ""),
	one("a message is sent to an activation that is over", "actor/actor.go",
		"	if a.claims.Load() < 0 {\n", "	if false {\n"),
	one("a message is lost with an activation", "actor/actor.go",
		"	if len(a.mailbox) > 0 {\n", "	if false {\n"),
	one("a message is nil", "actor/actor.go",
		"	if m == nil {\n", "	if false {\n"),

	// Of the life cycle.
	one("the end is too near to zero", "actor/actor.go",
		"const over = math.MinInt64\n", "const over = -2\n\nvar _ = math.MinInt64\n"),
	{"claims have 32 bits", []edit{
		{"actor/actor.go", "const over = math.MinInt64\n", "const over = math.MinInt32\n"},
		{"actor/actor.go", "	claims atomic.Int64 //", "	claims atomic.Int32 //"},
		{"actor/actor.go", "	released int64 //", "	released int32 //"},
	}},
	{"an entry is visible before it is complete", []edit{
		{"actor/actor.go", "e = &entry[S, F]{left: left}", "e = new(entry[S, F])"},
		{"actor/actor.go", "				return nil, &e.left\n", "				e.left = left\n				return nil, &e.left\n"},
	}},
	{"the address is cleared before the activation is over", []edit{
		{"actor/actor.go", "	if o.claims.CompareAndSwap(o.released, over) {\n		o.address.current.CompareAndSwap(&o.entry, nil) // keep nothing\n",
			"	if o.claims.Load() == o.released {\n		o.address.current.CompareAndSwap(&o.entry, nil)\n		if !o.claims.CompareAndSwap(o.released, over) {\n			return\n		}\n"},
	}},
	one("zero claims are taken for over", "actor/actor.go",
		"	if o.claims.CompareAndSwap(o.released, over) {\n",
		"	if o.claims.Load() == o.released {\n		o.claims.Store(over)\n"),
	one("a claim is taken though the activation is over", "actor/actor.go",
		"			if a.claims.Add(1) >= 0 {", "			if a.claims.Add(1); true {"),
	one("whoever enters takes the place of others", "actor/actor.go",
		"			if d.current.CompareAndSwap(nil, e) {", "			if d.current.Store(e); true {"),
	one("whoever leaves does not see others come", "actor/actor.go",
		"&e.left == alone && d.current.CompareAndSwap(e, nil) {\n", "&e.left == alone {\n		d.current.Store(nil)\n"),
	one("two begin two activations", "actor/actor.go",
		"		if d.current.CompareAndSwap(e, &fresh.entry) {", "		if d.current.Store(&fresh.entry); true {"),
	{"the owner yields before it waits", []edit{
		{"actor/actor.go", "		m := <-a.mailbox\n", "		if len(a.mailbox) == 0 {\n			runtime.Gosched()\n		}\n		m := <-a.mailbox\n"},
		{"actor/actor.go", "	\"math\"\n", "	\"math\"\n	\"runtime\"\n"},
	}},
	one("the owner adopts the first flight after the first message", "messages.go",
		"	c, s := m.call, stateOf(o)\n", "	c, s := m.call, &o.State\n	if o.Left != nil {\n		clear(stateOf(o).flights)\n	}\n"),
	{"the owner starts after its starter has sent", []edit{
		{"actor/actor.go", "	\"math\"\n", "	\"math\"\n	\"runtime\"\n"},
		{"actor/actor.go", "	claims atomic.Int64 // claims made, or over; 64 bits, because it only grows\n", `	claims atomic.Int64

	pending atomic.Bool
	starter [24]byte
	theirs  *F // who was alone
`},
		{"actor/actor.go", "			fresh.claims.Store(2) // the caller's, and that of the caller that is alone\n", `			fresh.claims.Store(2)
			fresh.pending.Store(true)
			fresh.starter = goroutine()
`},
		{"actor/actor.go", "			go fresh.own(&e.left) // before any Send: others may fill the mailbox\n", "			fresh.theirs = &e.left\n"},
		{"actor/actor.go", "	a.mailbox <- m\n}\n", `	a.mailbox <- m
	if a.pending.Load() && a.starter == goroutine() {
		a.pending.Store(false)
		go a.own(a.theirs)
		a.theirs = nil
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
