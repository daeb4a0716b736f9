package observe

import (
	"sync/atomic"
	"time"
)

// An asker calls functions of users, which may be slow or never return: from one goroutine
// at a time, and for a limited time.
type asker struct {
	turn chan struct{} // holds an element while such a goroutine runs
}

func newAsker() asker { return asker{make(chan struct{}, 1)} }

// A question is a function of users, and where its result goes, which must be the text
// to show if the function is not called, or does not return in time.
type question struct {
	ask    func() string
	answer *string
}

// patience is how long a page waits for functions of users.
const patience = time.Second

// ask asks the questions in turn, as far as there is time. If a function hangs, its
// goroutine stays until the function returns, and starts no other until then.
func (a asker) ask(questions []question) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case a.turn <- struct{}{}:
	case <-late.C:
		return
	}
	var over atomic.Bool
	defer over.Store(true)
	said := make(chan string, len(questions)) // so that the goroutine never waits for the page
	go func() {
		defer func() { <-a.turn }()
		defer close(said)
		for _, q := range questions {
			if over.Load() {
				return
			}
			said <- q.ask()
		}
	}()
	for _, q := range questions {
		select {
		case s, ok := <-said:
			if !ok { // q called runtime.Goexit
				return
			}
			*q.answer = s
		case <-late.C:
			return
		}
	}
}
