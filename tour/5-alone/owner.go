package alone

// A flight is one execution of a function, as in step 3.
type flight struct {
	key     string
	answers chan struct{}       // where the call gets the owner's answers; has room for one
	landed  chan struct{}       // where the waiters wait; closed when the flight has landed
	on      *flight             // itself, unless the owner writes another before it answers do
	end     func() (any, error) // the leader's until it closes landed, then immutable
}

func newFlight(key string) *flight {
	return &flight{key: key, answers: make(chan struct{}, 1), landed: make(chan struct{})}
}

// Messages to the owner, which answers all of them.
type (
	do     struct{ flight *flight }
	land   struct{ flight *flight }
	forget struct {
		key    string
		answer chan struct{} // has room for one
	}
)

// own is the owner, as in step 4, except that it begins with the flight of the caller that
// was alone.
func (a *activation) own() {
	flights := map[string]*flight{a.entry.note.key: a.entry.note}
	for a.claims.Load() >= 0 {
		switch m := (<-a.mailbox).(type) {
		case do:
			f := m.flight
			if current, ok := flights[f.key]; ok {
				f.on = current
				a.release()
			} else {
				f.on = f // and the claim stays
				flights[f.key] = f
			}
			f.answers <- struct{}{}
		case land:
			if flights[m.flight.key] == m.flight {
				delete(flights, m.flight.key)
			}
			a.release()
			m.flight.answers <- struct{}{}
		case forget:
			delete(flights, m.key)
			a.release()
			m.answer <- struct{}{}
		}
	}
}
