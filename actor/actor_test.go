package actor

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A ledger is the state of the actor under test.
type ledger struct {
	handled []string
	blob    *blob
}

// A blob is memory whose end can be observed with a weak pointer.
type blob [1 << 10]byte

// A note releases its claim once the owner has written it down, and then
// answers with all that is written, if anybody wants to know.
type note struct {
	text    string
	handled chan<- []string
}

func (m note) Handle(a *Activation[ledger]) {
	a.State.handled = append(a.State.handled, m.text)
	handled := a.State.handled
	a.Release()
	if m.handled != nil {
		m.handled <- handled
	}
}

// A kept note leaves its claim in force.
type kept struct{ text string }

func (m kept) Handle(a *Activation[ledger]) { a.State.handled = append(a.State.handled, m.text) }

// A stop holds up the owner until the gate opens. No message of a real actor
// may do that.
type stop struct{ gate <-chan struct{} }

func (m stop) Handle(a *Activation[ledger]) {
	<-m.gate
	a.Release()
}

func requireRest[S any](t *testing.T, d *Address[S]) {
	t.Helper()
	_, ok := d.Claim()
	require.False(t, ok, "the address is not at rest")
}

func claim(t *testing.T, d *Address[ledger]) *Activation[ledger] {
	t.Helper()
	a, ok := d.Claim()
	require.True(t, ok, "the address is at rest")
	return a
}

func TestAddressIsOneWord(t *testing.T) {
	assert.Equal(t, unsafe.Sizeof(uintptr(0)), unsafe.Sizeof(Address[ledger]{}))
}

func TestClaimBeginsNothing(t *testing.T) {
	var d Address[ledger]
	_, ok := d.Claim()
	assert.False(t, ok)
	assert.Nil(t, d.current.Load())
}

func TestMessagesAreHandledInTheOrderOfSending(t *testing.T) {
	var d Address[ledger]
	a, began := d.ClaimOrBegin(nil)
	require.True(t, began)
	a.Send(kept{"first"})
	b, began := d.ClaimOrBegin(nil)
	require.False(t, began)
	require.Same(t, a, b)
	b.Send(note{"second", nil})
	answer := make(chan []string, 1)
	a.Send(note{"third", answer})

	assert.Equal(t, []string{"first", "second", "third"}, <-answer)
	requireRest(t, &d)
}

func TestMessageLeftInPlaceIsHandledFirst(t *testing.T) {
	var d Address[ledger]
	a, began := d.ClaimOrBegin(func(s *ledger) Message[ledger] {
		s.handled = []string{"prepared"}
		return kept{"in place"}
	})
	require.True(t, began)
	claim(t, &d).Send(note{"sent", nil})
	answer := make(chan []string, 1)
	a.Send(note{"last", answer})

	assert.Equal(t, []string{"prepared", "in place", "sent", "last"}, <-answer)
	requireRest(t, &d)
}

func TestBeginInVain(t *testing.T) {
	var d Address[ledger]
	var faster *Activation[ledger]
	a, began := d.ClaimOrBegin(func(*ledger) Message[ledger] {
		faster, _ = d.ClaimOrBegin(nil)
		return kept{"in vain"}
	})
	assert.False(t, began)
	require.Same(t, faster, a)

	a.Send(note{"one", nil})
	answer := make(chan []string, 1)
	a.Send(note{"two", answer})
	assert.Equal(t, []string{"one", "two"}, <-answer)
	requireRest(t, &d)
}

func TestTryEndOfAnActivationNobodyElseClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Address[ledger]
		answer := make(chan []string, 1)
		a, _ := d.ClaimOrBegin(func(*ledger) Message[ledger] { return note{"in place", answer} })

		require.True(t, a.TryEnd())
		requireRest(t, &d)
		synctest.Wait()
		assert.Empty(t, answer, "nobody was to handle the message in place")
		assert.False(t, a.TryEnd(), "there is no second end")
	})
}

func TestTryEndOfAnActivationSomebodyElseClaimed(t *testing.T) {
	var d Address[ledger]
	a, _ := d.ClaimOrBegin(nil)
	b := claim(t, &d)
	require.False(t, a.TryEnd())

	// Both claims are still good for a message.
	a.Send(note{"beginner", nil})
	answer := make(chan []string, 1)
	b.Send(note{"other", answer})
	assert.Equal(t, []string{"beginner", "other"}, <-answer)
	requireRest(t, &d)
}

func TestClaimDoesNotWaitForWhoeverEndedTheActivation(t *testing.T) {
	var d Address[ledger]
	a, _ := d.ClaimOrBegin(nil)
	a.claims.Store(over) // the one step of the end, but not yet the address

	requireRest(t, &d)
	assert.Nil(t, d.current.Load())
	b, began := d.ClaimOrBegin(nil)
	assert.True(t, began)
	assert.NotSame(t, a, b)
}

func TestEndClearsOnlyItsOwnActivation(t *testing.T) {
	var d Address[ledger]
	a, _ := d.ClaimOrBegin(nil)
	b := &Activation[ledger]{address: &d}
	d.current.Store(b) // somebody cleared the address for a, and b began

	require.True(t, a.TryEnd())
	assert.Same(t, b, d.current.Load())

	c := &Activation[ledger]{address: &d}
	c.Release()
	assert.Same(t, b, d.current.Load())
}

func TestAtRestBeforeTheAnswer(t *testing.T) {
	var d Address[ledger]
	for range 10_000 {
		answer := make(chan []string, 1)
		a, _ := d.ClaimOrBegin(nil)
		a.Send(note{"only", answer})
		require.Len(t, <-answer, 1, "a new activation starts with a new state")
		requireRest(t, &d)
	}
}

func TestSendWaitsOnlyWhileTheMailboxIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Address[ledger]
		a, _ := d.ClaimOrBegin(nil)
		gate := make(chan struct{})
		a.Send(stop{gate})
		synctest.Wait() // the owner has taken the message, and is held up

		for range mailboxSize {
			claim(t, &d).Send(note{"fits", nil})
		}
		answer := make(chan []string, 1)
		sent := make(chan struct{})
		late := claim(t, &d)
		go func() {
			late.Send(note{"waits", answer})
			close(sent)
		}()
		synctest.Wait()
		select {
		case <-sent:
			assert.Fail(t, "Send did not wait")
		default:
		}
		close(gate)
		assert.Len(t, <-answer, mailboxSize+1)
		requireRest(t, &d)
	})
}

// A count adds to n, which every owner uses without protection. Two owners at
// once would lose counts, and the race detector would see them.
type count struct {
	n    *int
	done *sync.WaitGroup
}

type tally struct{} // the state, of which there is none: n is not of one activation

func (m count) Handle(a *Activation[tally]) {
	*m.n++
	a.Release()
	m.done.Done()
}

func TestFloodAtBirth(t *testing.T) {
	const rounds, senders = 200, 8 * mailboxSize
	var d Address[tally]
	n := 0
	for range rounds {
		var ready, done sync.WaitGroup
		gate := make(chan struct{})
		for range senders {
			ready.Add(1)
			done.Add(1)
			go func() {
				ready.Done()
				<-gate
				a, _ := d.ClaimOrBegin(nil)
				a.Send(count{&n, &done})
			}()
		}
		ready.Wait()
		close(gate)
		done.Wait()
		requireRest(t, &d)
	}
	assert.Equal(t, rounds*senders, n)
}

func TestEndsThatRaceWithClaims(t *testing.T) {
	const each = 20_000
	var d Address[tally]
	var n int // owners only
	var ended, sent atomic.Int64
	var senders, handled sync.WaitGroup
	send := func(a *Activation[tally]) {
		handled.Add(1)
		sent.Add(1)
		a.Send(count{&n, &handled})
	}
	for i := range 4 {
		senders.Go(func() {
			for range each {
				if i == 0 { // takes what is there
					if a, ok := d.Claim(); ok {
						send(a)
					}
					continue
				}
				a, began := d.ClaimOrBegin(nil)
				if began && a.TryEnd() {
					ended.Add(1)
				} else {
					send(a)
				}
			}
		})
	}
	senders.Wait()
	handled.Wait()
	requireRest(t, &d)
	assert.EqualValues(t, sent.Load(), n, "every message is handled once")
	assert.GreaterOrEqual(t, ended.Load()+sent.Load(), int64(3*each))
}

func TestNothingIsKeptAtRest(t *testing.T) {
	for name, end := range map[string]func(*Activation[ledger]){
		"TryEnd":  func(a *Activation[ledger]) { a.TryEnd() },
		"Release": func(a *Activation[ledger]) { a.Send(note{"last", nil}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d Address[ledger]
				var held weak.Pointer[blob]
				a, _ := d.ClaimOrBegin(func(s *ledger) Message[ledger] {
					s.blob = new(blob)
					held = weak.Make(s.blob)
					return nil
				})
				runtime.GC()
				require.NotNil(t, held.Value())

				end(a)
				synctest.Wait()
				runtime.GC()
				assert.Nil(t, held.Value())
				runtime.KeepAlive(&d)
			})
		})
	}
}

// A blobMessage refers to memory that must not outlive its handling.
type blobMessage struct{ blob *blob }

func (blobMessage) Handle(*Activation[ledger]) {}

func TestFirstMessageIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Address[ledger]
		var held weak.Pointer[blob]
		a, _ := d.ClaimOrBegin(func(*ledger) Message[ledger] {
			m := blobMessage{new(blob)}
			held = weak.Make(m.blob)
			return m
		})
		runtime.GC()
		require.NotNil(t, held.Value())

		claim(t, &d).Send(note{"starts the owner", nil})
		synctest.Wait()
		runtime.GC()
		assert.Nil(t, held.Value())
		a.Send(note{"last", nil})
		synctest.Wait()
		requireRest(t, &d)
	})
}
