package alone

// A flight is one execution of a function, as in step 3.
type flight struct {
	key     string
	turn    chan struct{}
	on      *flight             // written by the owner before it answers do, then the call's
	waiters []chan struct{}     // the owner's until it answers done, then the leader's
	end     func() (any, error) // the leader's until it releases the waiters
}

// Messages to the owner, which answers all of them.
type (
	do     struct{ flight *flight }
	done   struct{ flight *flight }
	forget struct {
		key    string
		answer chan struct{} // has room
	}
)

// own is the owner, as in step 4, but that it begins with the flight of the caller that was
// alone.
func (a *activation) own() {
	flights := map[string]*flight{a.entry.note.key: a.entry.note}
	for a.claims.Load() >= 0 {
		switch m := (<-a.mailbox).(type) {
		case do:
			f := m.flight
			if current, ok := flights[f.key]; ok {
				f.on = current
				current.waiters = append(current.waiters, f.turn)
				a.release()
			} else {
				f.on = f // and the claim stays
				flights[f.key] = f
			}
			f.turn <- struct{}{}
		case done:
			if flights[m.flight.key] == m.flight {
				delete(flights, m.flight.key)
			}
			a.release()
			m.flight.turn <- struct{}{}
		case forget:
			delete(flights, m.key)
			a.release()
			m.answer <- struct{}{}
		}
	}
}
