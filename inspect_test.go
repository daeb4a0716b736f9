package singleflight

import (
	"context"
	"math"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inFlight returns g.InFlight without the flights that keep owners alive.
func inFlight(g group[string, any]) (flights []Flight) {
	for _, f := range g.InFlight() {
		if f.Key != "other" {
			flights = append(flights, f)
		}
	}
	return flights
}

func TestInFlightListsEveryFlight(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		assert.Empty(t, inFlight(g))
		first, second := make(chan struct{}), make(chan struct{})
		forgotten := g.DoChan("key", behind(first, value(1)))
		joined := goDo(g, "key", never(t))
		synctest.Wait()
		assert.Equal(t, []Flight{{Key: "key", Callers: 2, State: Flying}}, inFlight(g))

		g.Forget("key")
		lone := goDo(g, "lone", behind(second, value(2)))
		successor := goDo(g, "key", behind(second, value(3)))
		synctest.Wait()
		g.DoChan("key", never(t)) // nothing receives its result
		goDo(g, "key", never(t))
		synctest.Wait()
		assert.ElementsMatch(t, []Flight{
			{Key: "key", Callers: 2, State: Forgotten},
			{Key: "key", Callers: 3, State: Flying},
			{Key: "lone", Callers: 1, State: Flying},
		}, inFlight(g))

		close(first)
		<-forgotten
		<-joined
		assert.ElementsMatch(t, []Flight{{Key: "key", Callers: 3, State: Flying}, {Key: "lone", Callers: 1, State: Flying}}, inFlight(g))
		close(second)
		<-lone
		<-successor
		assert.Empty(t, inFlight(g))
	})
}

func TestInFlightListsALoneFlight(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		g.Do("key", func() (any, error) {
			assert.Equal(t, []Flight{{Key: "key", Callers: 1, State: Flying}}, g.InFlight())
			return nil, nil
		})
		requireRest(t, g)
	})
}

func TestInFlightAndWaitStartNothingAtRest(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			if g.InFlight() != nil || g.Wait(ended) != nil {
				t.Fail()
			}
		}))
		requireRest(t, g)
	})
}

func TestInFlightAndWaitDoNotSeeKeysThatDoNotEqualThemselves(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[any, any]) {
		g.Do(math.NaN(), func() (any, error) {
			assert.Empty(t, g.InFlight())
			assert.NoError(t, g.Wait(t.Context()))
			return nil, nil
		})
	})
}

// goWait calls g.Wait in a new goroutine.
func goWait(ctx context.Context, g group[string, any]) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- g.Wait(ctx) }()
	return ended
}

func TestWaitReturnsWhenNothingIsInFlight(t *testing.T) {
	onBoth(t, func(t *testing.T, g group[string, any]) {
		synctest.Test(t, func(t *testing.T) {
			gates := map[string]chan struct{}{}
			fly := func(key string) {
				gates[key] = make(chan struct{})
				g.DoChan(key, behind(gates[key], value(key))) // nothing receives its result
			}
			fly("first")
			fly("forgotten")
			g.Forget("forgotten")
			waits := []<-chan error{goWait(t.Context(), g), goWait(t.Context(), g)}
			synctest.Wait()
			fly("later")
			for _, key := range []string{"first", "later", "forgotten"} {
				for _, wait := range waits {
					require.Empty(t, wait, "%s is in flight", key)
				}
				close(gates[key])
				synctest.Wait()
			}
			for _, wait := range waits {
				assert.NoError(t, <-wait)
			}
			requireRest(t, g)
		})
	})
}

func TestWaitGivesUpWhenItsContextEnds(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		gate := make(chan struct{})
		flight := g.DoChan("key", behind(gate, value(1)))
		ctx, cancel := context.WithCancel(t.Context())
		wait := goWait(ctx, g)
		synctest.Wait()
		require.Empty(t, wait)
		cancel()
		assert.Equal(t, context.Canceled, <-wait)
		assert.Len(t, inFlight(g), 1, "the flight goes on")
		close(gate)
		assert.Equal(t, Result{Val: 1}, <-flight)
	})
}

// Calls of Wait that have given up must not accumulate in the owner.
func TestAllWaitsOfAnActivationShareAChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		gate := make(chan struct{})
		flight := g.DoChan("key", behind(gate, value(1)))
		var rests []<-chan struct{}
		for range 3 {
			a, _ := g.address.Claim()
			m := newWait[string, any]()
			a.Send(m)
			rests = append(rests, <-m.rest)
		}
		assert.Equal(t, rests[0], rests[1])
		assert.Equal(t, rests[0], rests[2])
		close(gate)
		<-flight
		<-rests[0]
	})
}

func TestWaitPanicsIfItsContextIsNil(t *testing.T) {
	withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, any]) {
		assert.Panics(t, func() { g.Wait(nil) }) //nolint:staticcheck // the nil context is the point
	})
}

func TestState(t *testing.T) {
	assert.Equal(t, "flying", Flying.String())
	assert.Equal(t, "forgotten", Forgotten.String())
	assert.Equal(t, "abandoned", Abandoned.String())
	assert.Equal(t, "waiting", Waiting.String())
	assert.Equal(t, "State(200)", State(200).String())
}
