package peer

import "runtime"

// monitor is the actor that one would write first: a goroutine that owns the map, runs
// for good, and receives requests from an unbuffered channel. It does not handle panics,
// and must be closed.
type monitor struct {
	requests chan request
	landed   chan string
}

type request struct {
	key    string
	fn     func() (any, error)
	answer chan<- answer
}

type answer struct {
	v   any
	err error
}

func newMonitor() Group {
	m := &monitor{make(chan request), make(chan string)}
	closed := make(chan struct{})
	runtime.AddCleanup(m, func(closed chan struct{}) { close(closed) }, closed)
	go own(m.requests, m.landed, closed)
	return m
}

func (m *monitor) Do(key string, fn func() (any, error)) (any, error) {
	c := make(chan answer, 1)
	m.requests <- request{key, fn, c}
	a := <-c
	runtime.KeepAlive(m) // it is closed when it is unreachable
	return a.v, a.err
}

// A flight collects the calls that wait for it.
type flight struct {
	result  answer
	waiters []chan<- answer
}

func own(requests <-chan request, landed chan string, closed <-chan struct{}) {
	flights := make(map[string]*flight)
	for {
		select {
		case r := <-requests:
			f := flights[r.key]
			if f == nil {
				f = new(flight)
				flights[r.key] = f
				go func() {
					f.result.v, f.result.err = r.fn()
					landed <- r.key
				}()
			}
			f.waiters = append(f.waiters, r.answer)
		case key := <-landed:
			f := flights[key]
			delete(flights, key)
			for _, w := range f.waiters {
				w <- f.result
			}
		case <-closed:
			return
		}
	}
}
