package singleflight

import linked "container/list"

// This file has what the owner owns, and how the owner puts calls on flights.

// A state is what the owner owns.
type state[K comparable, V any] struct {
	flights   map[K]*flight[K, V]            // those that have their key; all have begun
	forgotten map[*party[K, V]]*flight[K, V] // the others that have begun, until they land
	rest      chan struct{}                  // closed when nothing is in flight; nil if no Wait has come
}

// stateOf returns what the owner owns. At first that is the flight of the call that was
// alone.
func stateOf[K comparable, V any](o *owner[K, V]) *state[K, V] {
	if o.Note != nil {
		o.State.flights = map[K]*flight[K, V]{o.Note.key: o.Note}
		o.Note = nil // do not keep the flight until the owner ends
	}
	return &o.State
}

// A nextFlight is a flight that begins when the one that has its key lands or is forgotten.
type nextFlight[K comparable, V any] struct {
	flight *flight[K, V]

	// Of the callers, while all of them may leave: a host will lead, for the first request.
	// Both are nil once a caller will lead.
	requests *linked.List
	places   map[*leaver[K, V]]*linked.Element // in requests
}

// find reports whether the flight of p is in flight. next is that flight if it has not begun,
// else nil.
func (s *state[K, V]) find(p *party[K, V]) (next *nextFlight[K, V], inFlight bool) {
	f := s.flights[p.key]
	if s.forgotten[p] != nil || f != nil && f.party == p {
		return nil, true
	}
	if f == nil || f.next() == nil || f.next().flight.party != p {
		return nil, false
	}
	return f.next(), true
}

// begin makes c a flight.
func (c *call[K, V]) begin() *flight[K, V] {
	f := &c.flight
	c.answer, c.led = leads, f
	if c.request != nil {
		f.party = newParty[K, V](c.key, c.leaver != nil)
		f.party.provide(c.request)
	}
	if c.leaver != nil {
		c.join(f)
		c.answer = hosts
	}
	return f
}

// join adds c to the callers of f, which keeps no reference to c unless it is c's own flight.
func (c *call[K, V]) join(f *flight[K, V]) {
	c.answer = joined
	p := f.needParty()
	if l := c.leaver; l != nil {
		l.party, l.row = p, p.join()
	} else if c.results != nil {
		p.channels = append(p.channels, c.results)
	} else {
		c.row = p.join()
	}
}

// joinNext puts c on the next flight of f. The first call there that never leaves will lead
// it, so that fn of a Do runs in the goroutine of its caller.
func (c *call[K, V]) joinNext(f *flight[K, V]) *flight[K, V] {
	p := f.needParty()
	next := p.next
	if next == nil {
		c.party = newParty[K, V](c.key, true)
		next = &nextFlight[K, V]{&c.flight, linked.New(), make(map[*leaver[K, V]]*linked.Element)}
		p.next = next
	}
	f = next.flight
	if next.requests == nil {
		c.join(f)
	} else if c.leaver != nil {
		c.join(f)
		c.answer = waits
		next.places[c.leaver] = next.requests.PushBack(c.request)
	} else {
		c.answer, c.led = willLead, f
		f.answers, f.results = c.answers, c.results
		f.party.hosted, next.requests, next.places = false, nil, nil
		if c.request != nil {
			f.party.provide(c.request)
		}
	}
	return f
}

// beginNext begins the next flight of f. It gets the key, and the claim of the message
// that is being handled. If there is none, beginNext releases the claim.
func beginNext[K comparable, V any](o *owner[K, V], f *flight[K, V]) {
	next := f.next()
	if next == nil {
		release(o)
		return
	}
	f.party.next = nil
	f = next.flight
	o.State.flights[f.key] = f
	if next.requests != nil {
		first := next.requests.Front().Value.(*request[K, V])
		f.party.provide(first)
		go leader[K, V]{flight: f, activation: o.Activation, begun: true}.host(true, first.fn)
	} else {
		f.answers <- struct{}{}
	}
}
