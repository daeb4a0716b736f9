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
	{"callers are woken before the key is free", []edit{
		{"flight.go", "	if p != nil {\n		p.wake(res)\n	}\n", ""},
		{"flight.go", "	if a == nil {\n		a = l.address.Exit(f)\n	}\n", `	if p := f.party; p != nil {
		res.shared = f.callers() > 1
		p.wake(res)
	}
	if a == nil {
		a = l.address.Exit(f)
	}
`},
	}},
	{"shared is computed before the key is free", []edit{
		{"flight.go", "	if a == nil {\n		a = l.address.Exit(f)\n	}\n", "	res.shared = f.callers() > 1\n	if a == nil {\n		a = l.address.Exit(f)\n	}\n"},
		{"flight.go", "	res.shared = callers > 1\n", ""},
	}},
	one("the landing of a forgotten flight frees the key of a newer one", "messages.go",
		"if s.flights[f.key] == f {", "if true {"),
	one("Forget clears the map", "messages.go",
		"		delete(s.flights, m.key)\n", "		clear(s.flights)\n"),
	{"a landed flight leaves its key in the map", []edit{
		{"messages.go", "		delete(s.flights, f.key)\n", "		s.flights[f.key] = nil\n"},
		{"messages.go", "	for _, f := range s.flights {\n", "	for _, f := range s.flights {\n		if f == nil {\n			continue\n		}\n"},
	}},
	one("channels receive in reverse order", "state.go",
		"p.channels = append(p.channels, c.results)", "p.channels = append([]chan ResultOf[V]{c.results}, p.channels...)"),
	one("only the last row is woken", "party.go",
		"	for _, r := range p.full {\n", "	for _, r := range p.full[:0] {\n"),
	one("the last row is not woken if others are full", "party.go",
		"	if p.row != nil {\n		p.row.wake(*res)\n", "	if p.row != nil && p.full == nil {\n		p.row.wake(*res)\n"),
	one("full rows are woken without the result", "party.go",
		"		go r.wake(*res)\n", "		go r.wake(result[V]{})\n"),
	one("the leader panics or exits before it wakes the others", "flight.go",
		"	if p != nil {\n		p.wake(res)\n", "	if p != nil && res.ending == returned {\n		p.wake(res)\n"),

	// Answers.
	one("land is answered before the claim is released", "messages.go",
		"	beginNext(o, f)\n	f.answers <- struct{}{}\n", "	f.answers <- struct{}{}\n	beginNext(o, f)\n"),
	one("leave is answered before the claim is released", "messages.go",
		"	release(o)\n	l.answers <- struct{}{}\n", "	l.answers <- struct{}{}\n	release(o)\n"),
	{"forget is answered before the claim is released", []edit{
		{"messages.go", "	m.free <- free\n", ""},
		{"messages.go", "	if f != nil && free {\n", "	m.free <- free\n	if f != nil && free {\n"},
	}},
	one("list is answered before the claim is released", "messages.go",
		"	release(o)\n	m.flights <- all\n", "	m.flights <- all\n	release(o)\n"),
	one("rest is answered before the claim is released", "messages.go",
		"	release(o)\n	m.rest <- answer\n", "	m.rest <- answer\n	release(o)\n"),
	one("forget is not answered", "group.go",
		"	return <-m.free\n", "	return !ifUnshared || <-m.free\n"),
	one("answers is unbuffered", "messages.go",
		"make(chan struct{}, 2)", "make(chan struct{})"),
	one("answers has no room for the beginning of a flight", "messages.go",
		"make(chan struct{}, 2)", "make(chan struct{}, 1)"),
	one("the channel for the answer to forget is unbuffered", "group.go",
		"make(chan bool, 1)", "make(chan bool)"),
	one("the channel for the answer to list is unbuffered", "inspect.go",
		"make(chan []FlightOf[K], 1)", "make(chan []FlightOf[K])"),
	one("the channel for the answer to rest is unbuffered", "inspect.go",
		"make(chan (<-chan struct{}), 1)", "make(chan (<-chan struct{}))"),
	one("a call that may leave shares its answers with its host", "context.go",
		"flight: flight[K, V]{key: key}, request", "flight: flight[K, V]{key: key, answers: l.answers}, request"),
	one("a lone call that leaves has no answers", "context.go",
		"		if l.answers == nil {\n", "		if false {\n"),

	// The flight of a call that was alone.
	one("do drops the flight that was alone", "messages.go",
		"	c, s := m.call, stateOf(o)\n", "	c, s := m.call, &o.State\n	if o.Note != nil {\n		clear(stateOf(o).flights)\n	}\n"),
	one("land does not find the flight that was alone", "messages.go",
		"	f, s := m.flight, stateOf(o)\n", "	f, s := m.flight, &o.State\n"),
	one("leave does not find the flight that was alone", "messages.go",
		"	l, s := m.leaver, stateOf(o)\n", "	l, s := m.leaver, &o.State\n"),
	one("forget does not find the flight that was alone", "messages.go",
		"	s := stateOf(o)\n	f := s.flights[m.key]\n", "	s := &o.State\n	f := s.flights[m.key]\n"),
	one("list does not find the flight that was alone", "messages.go",
		"	s := stateOf(o)\n	all :=", "	s := &o.State\n	all :="),
	one("rest does not find the flight that was alone", "messages.go",
		"	s := stateOf(o)\n	inFlight := false\n", "	s := &o.State\n	inFlight := false\n"),

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
		"	if res.ending == panicked && (", "	if res.ending == panicked && false && ("),
	one("a panic does not crash if a DoChan leads", "flight.go",
		"f.results != nil || ", ""),
	one("a panic does not crash if a DoChan has joined", "flight.go",
		" || p != nil && p.channels != nil", ""),
	one("a returned PanicError is mistaken for a panic", "flight.go",
		"	switch r.ending {\n", "	if _, ok := r.err.(*PanicError); ok {\n		r.ending = panicked\n	}\n	switch r.ending {\n"),

	// Memory that is kept.
	one("an activation that is over stays at the address", "actor/actor.go",
		"		o.address.current.CompareAndSwap(&o.entry, nil) // keep nothing\n", ""),
	{"the first flight is kept by the owner", []edit{
		{"state.go", "	if o.Note != nil {\n", "	if o.State.flights == nil {\n"},
		{"state.go", "		o.Note = nil ", "		_ = o.Note "},
	}},
	one("a claim is not released when a call joins", "messages.go",
		"	if c.answer != leads && c.answer != hosts {\n", "	if c.answer > joined {\n"),
	one("a claim is not released when a call is refused", "messages.go",
		"	if c.answer != leads && c.answer != hosts {\n", "	if c.answer != leads && c.answer != hosts && c.answer != refused {\n"),
	one("a claim is not released when a call waits for the next flight", "messages.go",
		"	if c.answer != leads && c.answer != hosts {\n", "	if c.answer != leads && c.answer != hosts && c.answer != waits {\n"),
	one("a claim is not released when a call will lead", "messages.go",
		"	if c.answer != leads && c.answer != hosts {\n", "	if c.answer != leads && c.answer != hosts && c.answer != willLead {\n"),
	{"a waiting Do keeps its fn", []edit{
		{"party.go", "await() (v V, err error, shared bool) {\n", "await(fn func() (V, error)) (v V, err error, shared bool) {\n	defer runtime.KeepAlive(fn)\n"},
		{"party.go", "	\"slices\"\n", "	\"runtime\"\n	\"slices\"\n"},
		{"group.go", "row.await()", "row.await(fn)"},
		{"context.go", "row.await()", "row.await(nil)"},
	}},
	one("a waiting Do keeps its key", "group.go",
		"		return row.await()\n", "		defer func(key K) { _ = map[K]bool{key: true} }(key)\n		return row.await()\n"),
	{"the owner keeps the calls that have joined", []edit{
		{"party.go", "type party[K comparable, V any] struct {\n", "type party[K comparable, V any] struct {\n	calls []any\n\n"},
		{"state.go", "	p := f.needParty()\n	if l := c.leaver; l != nil {\n", "	p := f.needParty()\n	p.calls = append(p.calls, c)\n	if l := c.leaver; l != nil {\n"},
	}},
	one("fn's context keeps the channels", "party.go",
		"	p.channels, p.full, p.row = nil, nil, nil\n", "	p.full, p.row = nil, nil\n"),
	one("fn's context keeps the full rows", "party.go",
		"	p.channels, p.full, p.row = nil, nil, nil\n", "	p.channels, p.row = nil, nil\n"),
	one("fn's context keeps the last row", "party.go",
		"	p.channels, p.full, p.row = nil, nil, nil\n", "	p.channels, p.full = nil, nil\n"),
	{"fn's context keeps the result of a call that is alone", []edit{
		{"context.go", "	p := newParty[K, V](key, true)\n	p.provide(r)\n	own := new(struct {\n", "	own := new(struct {\n		party  party[K, V]\n"},
		{"context.go", "		row    row[V]\n	})\n", "		row    row[V]\n	})\n	p := &own.party\n	p.key, p.hosted = key, true\n	p.provide(r)\n"},
	}},
	{"fn's context keeps fn", []edit{
		{"party.go", "type party[K comparable, V any] struct {\n", "type party[K comparable, V any] struct {\n	asked *request[K, V]\n\n"},
		{"context.go", "	p.values, p.group = r.ctx, r.group\n", "	p.values, p.group, p.asked = r.ctx, r.group, r\n"},
	}},
	{"a flight keeps the abandoned one that it has waited for", []edit{
		{"party.go", "type party[K comparable, V any] struct {\n", "type party[K comparable, V any] struct {\n	after *flight[K, V]\n\n"},
		{"state.go", "		p.next = next\n", "		p.next, c.party.after = next, f\n"},
	}},

	// The cost of a call, and the goroutine of fn.
	one("Do lets fn escape", "group.go",
		"	var res result[V]\n	l.lead(fn, &res)\n", "	var res result[V]\n	fns := make(chan func() (V, error), 1)\n	fns <- fn\n	l.lead(<-fns, &res)\n"),
	{"the owner starts the goroutine that leads", []edit{
		{"messages.go", "type do[K comparable, V any] struct{ call *call[K, V] }\n", `type do[K comparable, V any] struct{ call *call[K, V] }

type start[K comparable, V any] func()

func (m start[K, V]) Handle(o *owner[K, V]) {
	stateOf(o)
	release(o)
	go m()
}
`},
		{"group.go", "		go l.lead(fn, new(result[V]))\n", `		lead := func() { l.lead(fn, new(result[V])) }
		if l.activation == nil {
			go lead()
		} else {
			a, _ := l.address.Claim()
			a.Send(start[K, V](lead))
		}
`},
	}},
	one("the host that the owner starts has the owner's labels", "state.go",
		".host(true, first.fn)", ".host(false, first.fn)"),
	one("the host of a call that is alone has the labels of ctx", "context.go",
		"address: d, begun: true}.host(false, r.fn)", "address: d, begun: true}.host(true, r.fn)"),
	one("the host of a flight that begins at once has the labels of ctx", "context.go",
		"activation: a, begun: true}.host(false, r.fn)", "activation: a, begun: true}.host(true, r.fn)"),
	one("a context without labels leaves those of the owner", "flight.go",
		"		if byOwner {\n", "		has := false\n		pprof.ForLabels(l.flight.party.values, func(string, string) bool { has = true; return false })\n		if byOwner && has {\n"),

	// Calls that leave.
	one("a call with a context that is done begins a flight", "context.go",
		"	if err := r.ctx.Err(); err != nil {\n", "	if err := r.ctx.Err(); err != nil && false {\n"),
	one("a call whose context never ends leads in another goroutine", "context.go",
		"	if done == nil {\n		return g.doHere(", "	if false {\n		return g.doHere("),
	one("a DoChanContext that never leaves is led by a host", "context.go",
		"	if done == nil {\n		switch ", "	if false {\n		switch "),
	one("Done is called again", "context.go",
		"	if waitOrLeave(&g.address, l, done); l.left {\n		return v,", "	if waitOrLeave(&g.address, l, ctx.Done()); l.left {\n		return v,"),
	{"DoChanContext returns before it has asked the owner", []edit{
		{"context.go", "	l, err := g.boardLeaver(key, &r) //", "	board := func() (*leaver[K, V], error) { return g.boardLeaver(key, &r) } //"},
		{"context.go", "	if err != nil {\n		results <- ResultOf[V]{Err: err}\n		return results\n	}\n	go func() {\n",
			"	go func() {\n		l, err := board()\n		if err != nil {\n			results <- ResultOf[V]{Err: err}\n			return\n		}\n"},
	}},
	one("a call registers with its context", "context.go",
		"	d := &g.address\n	a, ok := d.Claim()\n", "	context.AfterFunc(r.ctx, func() {})\n	d := &g.address\n	a, ok := d.Claim()\n"),
	one("a leave is lost", "context.go",
		"	if a, ok := d.Claim(); ok {", "	if a, ok := (*activation[K, V])(nil), false; ok {"),
	one("a call does not wait for the answer to its leave", "context.go",
		"		<-l.answers\n", ""),
	one("a call that leaves too late does not wait for the result", "context.go",
		"	if !l.left {\n		<-l.row.landed\n", "	if !l.left {\n"),
	one("a leave is not answered", "messages.go",
		"	release(o)\n	l.answers <- struct{}{}\n", "	release(o)\n"),
	one("a call leaves though its flight has landed", "messages.go",
		"	if next, ok := s.find(p); ok {\n", "	if next, ok := s.find(p); ok || true {\n"),
	one("a flight that has landed is mistaken for a newer one of its key", "state.go",
		"	if f == nil || f.next() == nil || f.next().flight.party != p {\n		return nil, false\n", "	if f == nil || f.next() == nil || f.next().flight.party != p {\n		return nil, f != nil\n"),
	one("a call that waits is mistaken for one on a flight that has begun", "state.go",
		"	return f.next(), true\n", "	return nil, true\n"),
	one("a call does not leave a forgotten flight", "state.go",
		"	if s.forgotten[p] != nil || f != nil && f.party == p {\n", "	if f != nil && f.party == p {\n"),
	one("a forgotten flight is not abandoned", "messages.go",
		"			l.last = p.abandoned()\n", "			l.last = p.abandoned() && s.forgotten[p] == nil\n"),
	one("a call that leaves a forgotten flight ends the context of the newer one", "messages.go",
		"			l.last = p.abandoned()\n", "			l.last = p.abandoned()\n			if f := s.flights[p.key]; l.last && f != nil && f.party != p && f.party != nil && f.party.cancel != nil {\n				f.party.cancel(ErrAbandoned)\n			}\n"),
	one("a call that has left is counted", "party.go",
		"	p.inRows--\n", ""),
	one("a call that has joined is not counted", "party.go",
		"	p.inRows++\n", ""),
	one("a lone call is not counted in its row", "context.go",
		"	own.row.landed, own.row.callers = make(chan struct{}), 1\n", "	own.row.landed = make(chan struct{})\n"),
	one("a row counts the calls that have left it", "party.go",
		"	l.row.callers--\n", ""),
	one("a row has one caller too many", "party.go",
		"p.row.callers == rowSize {\n", "p.row.callers > rowSize {\n"),
	one("a full row is kept when all have left it", "party.go",
		"	} else if l.row.callers == 0 {\n", "	} else if false {\n"),
	one("the last row is lost when all have left another", "party.go",
		"	if l.row.callers == 0 && l.row == p.row {\n", "	if l.row.callers == 0 {\n"),
	one("the first row is lost when all have left another", "party.go",
		"		i := slices.Index(p.full, l.row)\n", "		i := 0\n"),
	one("a row is lost when another is full", "party.go",
		"		p.full, p.row = append(p.full, p.row), nil\n", "		p.full, p.row = []*row[V]{p.row}, nil\n"),
	one("a row that all have left stays behind the end of the list", "party.go",
		"		p.full = slices.Delete(p.full, i, i+1)\n", "		p.full = append(p.full[:i], p.full[i+1:]...)\n"),
	{"shared counts the calls that have left", []edit{
		{"party.go", "type party[K comparable, V any] struct {\n", "type party[K comparable, V any] struct {\n	left int\n\n"},
		{"party.go", "	p.inRows--\n", "	p.inRows--\n	p.left++\n"},
		{"flight.go", "	res.shared = callers > 1\n", "	res.shared = callers > 1 || p != nil && callers+p.left > 1\n"},
	}},
	one("a flight keeps the fn of a call that left before it began", "messages.go",
		"	c.request, c.leaver = nil, nil ", "	c.leaver = nil "),
	one("the next flight keeps the fn of a call that has left it", "messages.go",
		"			next.requests.Remove(next.places[l])\n			delete(next.places, l)\n", "			next.requests.MoveToBack(next.places[l])\n			delete(next.places, l)\n"),
	{"a flight keeps the fn of the calls that waited for it", []edit{
		{"state.go", "import linked \"container/list\"\n", "import (\n	linked \"container/list\"\n	\"context\"\n)\n"},
		{"state.go", ".host(true, first.fn)", ".host(true, func(ctx context.Context) (V, error) { defer next.requests.Init(); return first.fn(ctx) })"},
	}},
	one("a panic with a DoChanContext waiter does not crash", "context.go",
		"		if r.ending == panicked {\n			panic(r.err)\n		}\n", ""),
	one("a panic does not crash if the context of a DoChanContext has ended", "context.go",
		"		if r.ending == panicked {\n", "		if r.ending == panicked && ctx.Err() == nil {\n"),

	// What contexts return, and how they panic.
	one("a call that leaves returns the cause", "context.go",
		"	if err := ctx.Err(); err != nil {\n", "	if err := context.Cause(ctx); err != nil {\n"),
	one("a call with a context that is done returns the cause", "context.go",
		"	if err := r.ctx.Err(); err != nil {\n		return nil, err\n", "	if err := r.ctx.Err(); err != nil {\n		return nil, context.Cause(r.ctx)\n"),
	one("Wait returns the cause", "inspect.go",
		"		return endOf(ctx)\n", "		return context.Cause(ctx)\n"),
	one("DoContext returns no error if Err does", "context.go",
		"		return v, endOf(ctx), false\n", "		return v, ctx.Err(), false\n"),
	one("DoChanContext returns no error if Err does", "context.go",
		"ResultOf[V]{Err: endOf(ctx)}", "ResultOf[V]{Err: ctx.Err()}"),
	one("Wait returns no error if Err does", "inspect.go",
		"		return endOf(ctx)\n", "		return ctx.Err()\n"),
	one("a call asks Err when it has a claim", "context.go", `	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	d := &g.address
	a, ok := d.Claim()
	if !ok {
`, `	d := &g.address
	a, ok := d.Claim()
	if err := r.ctx.Err(); err != nil {
		if ok {
			a.Send(list[K, V]{make(chan []FlightOf[K], 1)})
		}
		return nil, err
	}
	if !ok {
`),
	one("Wait asks Done when it has a claim", "inspect.go",
		"	done := ctx.Done()\n	a, ok := g.address.Claim()\n	if !ok {\n		return nil\n	}\n",
		"	a, ok := g.address.Claim()\n	if !ok {\n		ctx.Done()\n		return nil\n	}\n	done := ctx.Done()\n"),
	{"fn's context ends when the caller knows its error", []edit{
		{"context.go", "	} else if l.last {\n		l.party.cancel(ErrAbandoned)\n	}\n", "	}\n"},
		{"context.go", "		return v, endOf(ctx), false\n", "		err := endOf(ctx)\n		if l.last {\n			l.party.cancel(ErrAbandoned)\n		}\n		return v, err, false\n"},
		{"context.go", "			results <- ResultOf[V]{Err: endOf(ctx)}\n", "			err := endOf(ctx)\n			if l.last {\n				l.party.cancel(ErrAbandoned)\n			}\n			results <- ResultOf[V]{Err: err}\n"},
	}},
	{"the owner sets the labels of the host, and asks the context", []edit{
		{"state.go", "		go leader[K, V]{", "		pprof.SetGoroutineLabels(first.ctx)\n		go leader[K, V]{"},
		{"state.go", ".host(true, first.fn)", ".host(false, first.fn)"},
		{"state.go", "import linked \"container/list\"\n", "import (\n	linked \"container/list\"\n	\"runtime/pprof\"\n)\n"},
	}},

	// The context of fn.
	one("fn's context has a caller's deadline", "context.go",
		"func (origin[K, V]) Deadline() (deadline time.Time, ok bool) { return deadline, false }", "func (o origin[K, V]) Deadline() (deadline time.Time, ok bool) { return o.party.values.Deadline() }"),
	one("fn's context has no values", "context.go",
		"	p.values, p.group = r.ctx,", "	p.values, p.group = context.Background(),"),
	one("fn's context ends with every caller that leaves", "context.go",
		"	} else if l.last {\n", "	} else if l.party.cancel != nil {\n"),
	one("fn's context does not end", "context.go",
		"		l.party.cancel(ErrAbandoned)\n", ""),
	one("fn's context ends without a cause", "context.go",
		"		l.party.cancel(ErrAbandoned)\n", "		l.party.cancel(nil)\n"),
	one("fn's context ends when fn returns", "flight.go",
		"	ctx := l.flight.party.context\n", "	ctx := l.flight.party.context\n	defer l.flight.party.cancel(nil)\n"),
	{"fn's context prints its callers", []edit{
		{"context.go", "func (origin[K, V]) Err() error ", "func (o origin[K, V]) String() string { return fmt.Sprint(o.party.key, o.party.inRows, len(o.party.channels)) }\nfunc (origin[K, V]) Err() error "},
		{"context.go", "	\"errors\"\n", "	\"errors\"\n	\"fmt\"\n"},
	}},

	// Abandoned flights, and the flights behind them.
	one("a call joins an abandoned flight", "messages.go",
		" || f.party != nil && f.party.abandoned() {\n", " {\n"),
	one("a function begins beside an abandoned one", "messages.go",
		"		f = c.joinNext(f)\n", "		s.forgotten = map[*party[K, V]]*flight[K, V]{f.party: f}\n		f = c.begin()\n		s.flights[c.key] = f\n"),
	one("a flight is abandoned though a DoChan is on it", "party.go",
		"	return p.hosted && p.inRows == 0 && len(p.channels) == 0\n", "	return p.hosted && p.inRows == 0\n"),
	one("a flight is abandoned though a caller leads it", "party.go",
		"	return p.hosted && p.inRows == 0 && len(p.channels) == 0\n", "	return p.inRows == 0 && len(p.channels) == 0\n"),
	one("fn begins though all callers have left", "flight.go",
		"		if err := ctx.Err(); err != nil {\n", "		if err := ctx.Err(); err != nil && false {\n"),
	one("a panic of an abandoned flight is lost", "flight.go",
		"callers == 0 || ", ""),
	one("the next flight does not begin", "messages.go",
		"	beginNext(o, f)\n	f.answers", "	release(o)\n	f.answers"),
	one("the next flight begins twice", "state.go",
		"	f.party.next = nil\n", ""),
	one("the next flight gets no claim", "messages.go",
		"	beginNext(o, f)\n	f.answers", "	next := f.next()\n	if beginNext(o, f); next != nil {\n		release(o)\n	}\n	f.answers"),
	one("the next flight gets no key", "state.go",
		"	o.State.flights[f.key] = f\n", ""),
	one("the next flight begins though all callers have left", "messages.go",
		"			s.flights[p.key].party.next = nil ", "			_ = next "),
	one("the next flight begins with the function of a call that has left", "messages.go",
		"			next.requests.Remove(next.places[l])\n", "			next.requests.Remove(next.requests.Back())\n"),
	one("a call that has left the next flight keeps its place", "messages.go",
		"			next.requests.Remove(next.places[l])\n", ""),
	one("the next flight remembers the calls that have left it", "messages.go",
		"			delete(next.places, l)\n", ""),
	one("the next flight begins with the function of the last call", "state.go",
		"next.requests.Front().Value", "next.requests.Back().Value"),
	one("a call that waits goes before the others", "state.go",
		"next.requests.PushBack(", "next.requests.PushFront("),
	one("Forget begins nothing", "messages.go",
		"		beginNext(o, f)\n	} else", "		release(o)\n	} else"),
	one("ForgetUnshared forgets a flight that calls wait for", "messages.go",
		"f.callers() <= 1 && f.next() == nil\n", "f.callers() <= 1\n"),
	one("a Do waits for a flight whose other callers may all leave before it begins", "state.go",
		"	if next.requests == nil {\n", "	if next.requests == nil || c.leaver == nil && next.requests.Len() > 0 {\n"),
	one("a Do takes a flight over from a Do", "state.go",
		"	if next.requests == nil {\n", "	if next.requests == nil && c.leaver != nil {\n"),
	one("a flight that a call has taken over may be abandoned", "state.go",
		"		f.party.hosted, next.requests, next.places = false, nil, nil\n", "		next.requests, next.places = nil, nil\n"),
	one("the fn of a call that takes a flight over gets no context", "state.go",
		"		if c.request != nil {\n			f.party.provide(c.request)\n		}\n", ""),
	one("the fn of a call that takes a flight over gets a context that may end", "state.go",
		"		f.party.hosted, next.requests, next.places = false, nil, nil\n		if c.request != nil {\n			f.party.provide(c.request)\n		}\n",
		"		if c.request != nil {\n			f.party.provide(c.request)\n		}\n		f.party.hosted, next.requests, next.places = false, nil, nil\n"),
	one("the fn of a call that takes a flight over gets the values of the first call", "state.go",
		"		f.party.hosted, next.requests, next.places = false, nil, nil\n		if c.request != nil {\n			f.party.provide(c.request)\n",
		"		first := c.request\n		if e := next.requests.Front(); e != nil {\n			first = e.Value.(*request[K, V])\n		}\n		f.party.hosted, next.requests, next.places = false, nil, nil\n		if c.request != nil {\n			f.party.provide(first)\n"),
	one("a DoChan that takes a flight over receives nothing", "state.go",
		"		f.answers, f.results = c.answers, c.results\n", "		f.answers = c.answers\n"),
	one("a call that will lead begins at once", "group.go",
		"	l.flight, l.begun = c.led, c.answer == leads\n", "	l.flight, l.begun = c.led, true\n"),

	// Fresh calls.
	one("DoFresh is not fresh", "fresh.go",
		"	return g.doContext(ctx, key, fn, true)\n", "	return g.doContext(ctx, key, fn, false)\n"),
	one("DoChanFresh is not fresh", "fresh.go",
		"	return g.doChanContext(ctx, key, fn, true)\n", "	return g.doChanContext(ctx, key, fn, false)\n"),
	one("DoFresh of a Sharded is not fresh", "sharded.go",
		"	return s.of(key).DoFresh(", "	return s.of(key).DoContext("),
	one("DoChanFresh of a Sharded is not fresh", "sharded.go",
		"	return s.of(key).DoChanFresh(", "	return s.of(key).DoChanContext("),
	one("a fresh call joins the flight in progress", "messages.go",
		"	} else if c.request != nil && c.request.fresh || ", "	} else if "),
	one("a fresh call that never leaves joins the flight in progress", "messages.go",
		"c.request.fresh || ", "c.request.fresh && c.leaver != nil || "),
	one("a fresh call that may leave joins the flight in progress", "messages.go",
		"c.request.fresh || ", "c.request.fresh && c.leaver == nil || "),
	one("a fresh call joins a flight that no other call has joined", "messages.go",
		"c.request.fresh || ", "c.request.fresh && f.party != nil || "),
	one("a fresh call waits for the group to be at rest, and then joins what has begun", "context.go",
		" (v V, err error, shared bool) {\n	g, key = g.home(key)\n", " (v V, err error, shared bool) {\n	g, key = g.home(key)\n	if fresh {\n		g.Wait(ctx)\n		fresh = false\n	}\n"),
	one("a fresh call with a context that is done begins a flight", "context.go",
		"	if err := r.ctx.Err(); err != nil {\n", "	if err := r.ctx.Err(); err != nil && !r.fresh {\n"),
	one("a DoChanFresh that never leaves does not lead", "context.go",
		"	if done == nil {\n		switch ", "	if done == nil && !fresh {\n		switch "),
	one("a DoFresh that never leaves does not lead", "context.go",
		"	if done == nil {\n		return g.doHere(", "	if done == nil && !fresh {\n		return g.doHere("),
	one("other calls join the next flight while one is in progress", "messages.go",
		"f.party != nil && f.party.abandoned() {\n", "f.party != nil && (f.party.abandoned() || f.party.next != nil) {\n"),
	one("a fresh call makes no party", "state.go",
		"	p := f.needParty()\n	next :=", "	p := f.party\n	next :="),
	one("a fresh call makes a party whose leader is not counted", "state.go",
		"	p := f.needParty()\n	next :=", "	if f.party == nil {\n		f.party = newParty[K, V](f.key, true)\n	}\n	p := f.party\n	next :="),
	one("each fresh call has a flight of its own", "state.go",
		"	next := p.next\n", "	for c.request != nil && c.request.fresh && p.next != nil {\n		p = p.next.flight.party\n	}\n	next := p.next\n"),
	one("a fresh call displaces those that wait", "state.go",
		"	if next == nil {\n		c.party", "	if next == nil || c.request != nil && c.request.fresh {\n		c.party"),
	one("a function begins beside the one in progress", "messages.go",
		"		f = c.joinNext(f)\n", `		if f.party == nil || !f.party.abandoned() {
			s.forgotten = map[*party[K, V]]*flight[K, V]{f.party: f}
			f = c.begin()
			s.flights[c.key] = f
		} else {
			f = c.joinNext(f)
		}
`),
	one("the next flight begins when all callers have left the one in progress", "messages.go",
		"			l.last = p.abandoned()\n", `			l.last = p.abandoned()
			if f := s.flights[p.key]; l.last && p.next != nil && f != nil && f.party == p {
				s.forgotten = map[*party[K, V]]*flight[K, V]{p: f}
				beginNext(o, f)
				l.answers <- struct{}{}
				return
			}
`),
	one("fresh callers keep fn's context from ending", "party.go",
		"	return p.hosted && p.inRows == 0 && len(p.channels) == 0\n", "	return p.hosted && p.inRows == 0 && len(p.channels) == 0 && p.next == nil\n"),
	one("fresh callers are counted in the flight in progress", "flight.go",
		"	if !p.hosted {\n", "	if p.next != nil {\n		n += p.next.flight.callers()\n	}\n	if !p.hosted {\n"),
	{"shared counts the fresh callers that have waited", []edit{
		{"party.go", "type party[K comparable, V any] struct {\n", "type party[K comparable, V any] struct {\n	waited int\n\n"},
		{"state.go", "	f.party.next = nil\n", "	f.party.next, f.party.waited = nil, next.flight.callers()\n"},
		{"flight.go", "	res.shared = callers > 1\n", "	res.shared = callers > 1 || p != nil && callers+p.waited > 1\n"},
	}},
	one("fresh callers that leave end the context of the function in progress", "messages.go",
		"			s.flights[p.key].party.next = nil ", `			if cancel := s.flights[p.key].party.cancel; cancel != nil {
				cancel(ErrAbandoned)
			}
			s.flights[p.key].party.next = nil `),
	one("the next flight does not begin if fn has panicked", "flight.go",
		"		a.Send(land[K, V]{f})\n", "		if res.ending == panicked && f.party != nil {\n			f.party.next = nil\n		}\n		a.Send(land[K, V]{f})\n"),
	one("the next flight does not begin if fn has exited", "flight.go",
		"		a.Send(land[K, V]{f})\n", "		if res.ending == goexited && f.party != nil {\n			f.party.next = nil\n		}\n		a.Send(land[K, V]{f})\n"),
	one("Forget begins no flight behind one that has callers", "messages.go",
		"		beginNext(o, f)\n	} else", "		if f.party.abandoned() {\n			beginNext(o, f)\n		} else {\n			release(o)\n		}\n	} else"),
	one("ForgetUnshared forgets a flight that fresh calls wait for", "messages.go",
		"f.callers() <= 1 && f.next() == nil\n", "f.callers() <= 1 && (f.next() == nil || !f.party.abandoned())\n"),
	one("InFlight omits the flight that waits for one that has callers", "messages.go",
		"		if next := f.next(); next != nil {\n", "		if next := f.next(); next != nil && f.party.abandoned() {\n"),
	one("a fresh call closes no circle", "messages.go",
		"	} else if inside != nil && inside.awaitedBy(", "	} else if inside != nil && !c.request.fresh && inside.awaitedBy("),
	one("a fresh call is refused only for the key of its own function", "messages.go",
		"	} else if inside != nil && inside.awaitedBy(", "	} else if inside != nil && (!c.request.fresh || inside == f.party) && inside.awaitedBy("),
	one("a circle through a flight that fresh calls wait for is not detected", "deadlock.go",
		"	return p.next != nil && p.next.flight", "	return p.next != nil && p.abandoned() && p.next.flight"),
	one("a fresh call closes no circle once its flight has begun", "messages.go",
		"	if inside != nil && c.answer != refused {\n		f.party.nest(inside)\n", "	if inside != nil && c.answer != refused {\n		if c.request.fresh && c.leaver == nil {\n			f = s.flights[c.key]\n		}\n		f.party.nest(inside)\n"),

	// Calls that would wait for themselves.
	one("no circle is detected", "messages.go",
		"	} else if inside != nil && inside.awaitedBy(f.party, make(map[*party[K, V]]bool)) {\n", "	} else if false {\n"),
	one("a circle of two is not detected", "deadlock.go",
		"		if outer.awaitedBy(other, seen) {\n", "		if outer != other && outer.awaitedBy(other, seen) {\n"),
	one("a circle of three is not detected", "deadlock.go",
		"		if outer.awaitedBy(other, seen) {\n", "		if outer == other {\n"),
	one("a circle of four is not detected", "deadlock.go",
		"		if outer.awaitedBy(other, seen) {\n", "		if outer == other || outer.nested[other] > 0 {\n"),
	one("a circle through a flight that waits is not detected", "deadlock.go",
		"	return p.next != nil && p.next.flight.party.awaitedBy(other, seen)\n", "	return false\n"),
	one("a circle through a flight that a call has taken over is not detected", "deadlock.go",
		"	return p.next != nil && p.next.flight", "	return p.next != nil && p.next.requests != nil && p.next.flight"),
	one("a circle through the calls on a flight that waits is not detected", "deadlock.go",
		"	return p.next != nil && p.next.flight.party.awaitedBy(other, seen)\n", "	return p.next != nil && p.next.flight.party == other\n"),
	one("a circle through a forgotten flight is not detected", "messages.go",
		"		s.forgotten[f.needParty()] = f\n", "		s.forgotten[f.needParty()] = f\n		clear(f.party.nested)\n"),
	one("a circle through a flight that has waited is not detected", "state.go",
		"	o.State.flights[f.key] = f\n", "	o.State.flights[f.key] = f\n	clear(f.party.nested)\n"),
	one("a flight that no call has joined closes a circle", "deadlock.go",
		"	return p.next != nil && p.next.flight", "	return p.next != nil && other == nil || p.next != nil && p.next.flight"),
	one("a flight that is waited for on two paths closes a circle", "deadlock.go",
		"		return p == other\n", "		return true\n"),
	one("the search for a circle takes every path", "deadlock.go",
		"	seen[p] = true\n", ""),
	one("a flight waits for the calls that wait for it", "messages.go",
		"		f.party.nest(inside)\n", "		inside.nest(f.party)\n"),
	one("the first call of a flight closes no circle", "messages.go",
		"	if inside != nil && c.answer != refused {\n", "	if inside != nil && c.answer != refused && c.answer > hosts {\n"),
	one("a call that waits for a flight to begin closes no circle", "messages.go",
		"	if inside != nil && c.answer != refused {\n", "	if inside != nil && c.answer != refused && c.answer != waits {\n"),
	one("a call that will lead closes no circle", "messages.go",
		"	if inside != nil && c.answer != refused {\n", "	if inside != nil && c.answer != refused && c.answer != willLead {\n"),
	one("a call that is refused closes a circle", "messages.go",
		"	if inside != nil && c.answer != refused {\n", "	if inside != nil {\n"),
	one("a call that never leaves closes no circle", "group.go",
		"		c.request = &asked\n", "		asked.inside = nil\n		c.request = &asked\n"),
	one("a call that has left closes a circle", "party.go",
		"	if l.inside != nil {\n		p.unnest(l.inside)\n	}\n", ""),
	one("a call that has left closes a circle, because its flight is still known", "deadlock.go",
		"	if p.nested[inside] == 0 {\n", "	if false {\n"),
	one("a call that leaves removes the others of its function", "deadlock.go",
		"	p.nested[inside]--\n", "	p.nested[inside] = 0\n"),
	one("a flight that has landed closes a circle", "messages.go",
		"		f.party.nested = nil ", "		_ = f "),
	one("a flight of another group closes a circle", "context.go",
		"ok && o.party.group == &g.address {", "ok {"),

	// InFlight and Wait.
	one("a forgotten flight is not in flight", "messages.go",
		"		s.forgotten[f.needParty()] = f\n", "		f.needParty()\n"),
	one("a forgotten flight is in flight when it has landed", "messages.go",
		"		delete(s.forgotten, f.party)\n", ""),
	one("InFlight does not count the leader", "inspect.go",
		"Callers: f.callers(), ", "Callers: max(1, f.callers()-1), "),
	one("the leader is not counted if it is alone", "flight.go",
		"		return 1 ", "		return 0 "),
	one("the host is counted as a caller", "flight.go",
		"	if !p.hosted {\n", "	if true {\n"),
	one("channels are not counted as callers", "flight.go",
		"	n := p.inRows + len(p.channels)\n", "	n := p.inRows\n"),
	one("InFlight omits the flight that waits", "messages.go",
		"			all = append(all, next.flight.describe(Waiting))\n", "			_ = next\n"),
	one("a flight that waits shows a context", "inspect.go",
		" && s != Waiting", ""),
	one("InFlight shows the caller's context", "inspect.go",
		"		d.Context = f.party.context\n", "		d.Context = f.party.values\n"),
	one("an abandoned flight is shown as flying", "inspect.go",
		"		d.State = Abandoned\n", ""),
	one("an abandoned flight is shown as forgotten", "inspect.go",
		"	if d.Callers == 0 {\n", "	if d.Callers == 0 && s != Forgotten {\n"),
	one("Wait returns when the next claim is released", "messages.go",
		"	if o.Release() && o.State.rest != nil {\n		close(o.State.rest)\n", "	if o.Release(); o.State.rest != nil {\n		close(o.State.rest)\n		o.State.rest = nil\n"),
	one("Wait does not return", "messages.go",
		"		close(o.State.rest)\n", ""),
	one("Wait keeps the activation alive", "messages.go",
		"	release(o)\n	m.rest <- answer\n", "	m.rest <- answer\n"),
	one("each Wait has its own channel", "messages.go",
		"	if s.rest == nil {\n", "	if old := s.rest; old != nil {\n		s.rest = make(chan struct{})\n		go func(c chan struct{}) { <-c; close(old) }(s.rest)\n	} else {\n"),
	one("Wait does not give up", "inspect.go",
		"	case <-done:\n		return endOf(ctx)\n", "	case <-done:\n		<-(<-chan struct{})(nil)\n		return nil\n"),
	one("Wait waits for the flight that it is made in", "inspect.go",
		"	inside := g.inside(ctx)\n", "	inside := g.inside(ctx)\n	inside = nil\n"),
	one("Wait is refused though its flight has landed", "messages.go",
		"		_, inFlight = s.find(m.inside)\n", "		inFlight = true\n"),
	one("Wait is refused because of a newer flight of the key", "messages.go",
		"		_, inFlight = s.find(m.inside)\n", "		inFlight = s.flights[m.inside.key] != nil\n"),
	one("Wait waits for the first shard only", "sharded.go",
		"		if err := s.shards[(first+i)%shards].Wait(ctx); err != nil {\n			return err\n		}\n", "		return s.shards[(first+i)%shards].Wait(ctx)\n"),
	one("Wait begins with the first shard, whatever its context", "sharded.go",
		"			first = i\n", "			_ = i\n"),
	one("Wait does not go round the shards", "sharded.go",
		"s.shards[(first+i)%shards]", "s.shards[min(first+i, shards-1)]"),
	one("Wait omits the last shard", "sharded.go",
		"	for i := range s.shards {\n		if err :=", "	for i := range s.shards[:shards-1] {\n		if err :="),
	one("InFlight omits the last shard", "sharded.go",
		"	for i := range s.shards {\n		flights =", "	for i := range s.shards[:shards-1] {\n		flights ="),

	// Bad input.
	one("unhashable keys are not checked", "group.go",
		"	_ = map[K]struct{}(nil)[key]\n", ""),
	one("keys that do not equal themselves are not checked", "group.go",
		"	if key != key {", "	if false {"),
	one("keys that do not equal themselves cannot be found", "group.go",
		"		return new(GroupOf[K, V]), zero\n", "		_ = zero\n		return new(GroupOf[K, V]), key\n"),
	one("DoContext takes a key that does not equal itself", "context.go",
		" (v V, err error, shared bool) {\n	g, key = g.home(key)\n", " (v V, err error, shared bool) {\n	g.home(key)\n"),
	one("DoChanContext takes a key that does not equal itself", "context.go",
		" <-chan ResultOf[V] {\n	g, key = g.home(key)\n", " <-chan ResultOf[V] {\n	g.home(key)\n"),
	one("a nil context is not checked", "context.go",
		"	if ctx == nil {\n", "	if false {\n"),

	// Shards.
	one("every group has its own hash", "sharded.go",
		"maphash.Comparable(seed, key)", "maphash.Comparable(maphash.MakeSeed(), key)"),
	one("all keys are in one shard", "sharded.go",
		"maphash.Comparable(seed, key)%shards", "maphash.Comparable(seed, key)%1"),

	// Misuse of package actor.
	one("a second Exit evicts the caller that is alone", "actor/actor.go",
		"e != nil && &e.note == alone && ", "e != nil && e.activation == nil && "),
	one("a caller may exit from an activation twice", "actor/actor.go",
		"	e.activation.alone = nil\n", ""),
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
	one("a caller that exits does not see that others have come", "actor/actor.go",
		"&e.note == alone && d.current.CompareAndSwap(e, nil) {\n", "&e.note == alone {\n		d.current.Store(nil)\n"),
	one("two callers begin two activations", "actor/actor.go",
		"		if d.current.CompareAndSwap(e, &fresh.entry) {", "		if d.current.Store(&fresh.entry); true {"),
	{"the owner yields before it waits", []edit{
		{"actor/actor.go", "		m := <-a.mailbox\n", "		if len(a.mailbox) == 0 {\n			runtime.Gosched()\n		}\n		m := <-a.mailbox\n"},
		{"actor/actor.go", "	\"math\"\n", "	\"math\"\n	\"runtime\"\n"},
	}},
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
