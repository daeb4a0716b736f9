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
		{"flight.go", "for c := f.firstWaiter; c != nil; {\n		next", "for c := f.firstWaiter; false; {\n		next"},
		{
			"flight.go",
			"	if !a.TryEnd() {\n",
			`	for c := f.firstWaiter; c != nil; {
		next := c.next
		if c.results != nil {
			c.results <- ResultOf[V]{r.val, r.err, true}
		} else {
			c.result = r
			c.turn <- struct{}{}
		}
		c = next
	}
	if !a.TryEnd() {
`,
		},
	}},
	{"shared is computed before the key is free", []edit{
		{"flight.go", "	if !a.TryEnd() {\n", "	shared = f.firstWaiter != nil\n	if !a.TryEnd() {\n"},
		{"flight.go", "	shared = f.firstWaiter != nil\n\n", "\n"},
	}},
	one("landing frees the key of a successor", "messages.go",
		"if a.State.byKey[f.key] == f {", "if true {"),
	one("done is answered before the claim is released", "messages.go",
		"	a.Release()\n	f.turn <- struct{}{}\n", "	f.turn <- struct{}{}\n	a.Release()\n"),
	one("forget is answered before the claim is released", "messages.go",
		"	a.Release()\n	m.free <- free\n", "	m.free <- free\n	a.Release()\n"),
	{"forget is not answered", []edit{
		{"group.go", "	return <-m.free\n", "	return !ifUnshared || <-m.free\n"},
	}},
	one("waiters are released last first", "messages.go",
		`	if f.firstWaiter == nil {
		f.firstWaiter = c
	} else {
		f.lastWaiter.next = c
	}
	f.lastWaiter = c
`, `	c.next = f.firstWaiter
	f.firstWaiter = c
`),

	// Of endings.
	{"Goexit is forgotten for a waiting Do", []edit{
		{"flight.go", "		runtime.Goexit()\n", ""},
		{"flight.go", "	\"runtime\"\n", ""},
	}},
	one("Goexit is forgotten for DoChan", "flight.go",
		"result[V]{err: ErrGoexit, ending: exited}", "result[V]{ending: exited}"),
	one("Goexit is taken for a return", "flight.go",
		"result[V]{err: ErrGoexit, ending: exited}", "result[V]{err: ErrGoexit}"),
	one("a panic with a DoChan waiter is no crash", "flight.go",
		"		go panic(r.err) // where nobody can recover it\n		select {}       // stay, for the crash dump\n", ""),
	one("a returned PanicError is taken for a panic", "flight.go",
		"	switch r.ending {\n", "	if _, ok := r.err.(*PanicError); ok {\n		r.ending = panicked\n	}\n	switch r.ending {\n"),

	// Of what is kept.
	one("the last leader leaves its activation at the address", "actor/actor.go",
		"	a.address.current.CompareAndSwap(a, nil) // keep nothing\n", ""),
	one("the first flight is kept by its activation", "flight.go",
		"	*f = flight[K, V]{}\n", ""),
	one("the first message is kept by its activation", "actor/actor.go",
		"		a.first = nil\n", ""),
	one("a claim is not released when a call joins", "messages.go",
		"		f.join(c)\n		a.Release()\n", "		f.join(c)\n"),

	// Of bad input.
	one("unhashable keys are not checked", "group.go",
		"	_ = map[K]struct{}(nil)[key]\n", ""),
	one("keys that do not equal themselves are not checked", "group.go",
		"	if key != key {", "	if false {"),

	// Of the life cycle.
	one("zero claims are taken for over", "actor/actor.go",
		"	if !a.claims.CompareAndSwap(claims, over) {\n		return false\n	}\n",
		"	if a.claims.Load() != claims {\n		return false\n	}\n	a.claims.Store(over)\n"),
	one("a claim is taken though the activation is over", "actor/actor.go",
		"	if a.claims.Add(1) >= 0 {", "	if a.claims.Add(1); true {"),
	one("whoever begins replaces a live activation", "actor/actor.go",
		"		if d.current.CompareAndSwap(nil, fresh) {", "		if d.current.Store(fresh); true {"),
	one("two senders start two owners", "actor/actor.go",
		"	if a.mailbox.CompareAndSwap(nil, &mailbox) {\n		go a.own(mailbox)\n	}\n",
		"	a.mailbox.Store(&mailbox)\n	go a.own(mailbox)\n"),
	one("the owner adopts the first flight after the first message", "actor/actor.go",
		"	if a.first != nil {\n", "	(<-mailbox).Handle(a)\n	if a.first != nil {\n"),
	{"the owner starts after its starter has sent", []edit{
		{"actor/actor.go", "		mailbox = a.start()\n	}\n	*mailbox <- m\n", "		a.start(m)\n		return\n	}\n	*mailbox <- m\n"},
		{"actor/actor.go", "start() *chan Message[S] {", "start(m Message[S]) {"},
		{"actor/actor.go", "		go a.own(mailbox)\n	}\n	return a.mailbox.Load()\n", "		mailbox <- m\n		go a.own(mailbox)\n		return\n	}\n	*a.mailbox.Load() <- m\n"},
	}},
}
