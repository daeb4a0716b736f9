package actor

import (
	"runtime"
	"strings"
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

// A ledger is the state of the actor under test. Its notes are *blobs.
type ledger struct {
	handled []string
	blob    *blob
}

// A blob is memory whose end can be observed with a weak pointer.
type blob [1 << 10]byte

type (
	address    = Address[ledger, *blob]
	activation = Activation[ledger, *blob]
	owner      = Owner[ledger, *blob]
)

// A remark is written down by the owner. Then it releases its claim, and answers with
// all remarks so far if it has a channel for that.
type remark struct {
	text    string
	handled chan<- []string
}

func (m remark) Handle(o *owner) {
	o.State.handled = append(o.State.handled, m.text)
	handled := o.State.handled
	o.Release()
	if m.handled != nil {
		m.handled <- handled
	}
}

// A kept remark keeps its claim.
type kept struct{ text string }

func (m kept) Handle(o *owner) { o.State.handled = append(o.State.handled, m.text) }

// A stop blocks the owner until the gate is closed, which no real message may do.
type stop struct{ gate <-chan struct{} }

func (m stop) Handle(o *owner) {
	<-m.gate
	o.Release()
}

func requireRest[S, F any](t *testing.T, d *Address[S, F]) {
	t.Helper()
	_, ok := d.Claim()
	require.False(t, ok, "the address is not at rest")
}

// enter enters d, which must be at rest.
func enter(t *testing.T, d *address) (alone **blob) {
	t.Helper()
	a, alone := d.ClaimOrEnter(nil)
	require.Nil(t, a)
	require.NotNil(t, alone)
	return alone
}

// claim claims d, which must not be at rest.
func claim(t *testing.T, d *address) *activation {
	t.Helper()
	a, ok := d.Claim()
	require.True(t, ok, "the address is at rest")
	return a
}

// meet returns an activation with two claims: one of a caller that was alone, and one
// of another.
func meet(t *testing.T, d *address) *activation {
	t.Helper()
	alone := enter(t, d)
	a := claim(t, d)
	require.Same(t, a, d.Exit(alone))
	return a
}

// end returns an activation that is over.
func end(t *testing.T, d *address) *activation {
	t.Helper()
	a := meet(t, d)
	answer := make(chan []string, 1)
	a.Send(remark{})
	a.Send(remark{handled: answer})
	<-answer
	return a
}

func TestAddressIsOneWord(t *testing.T) {
	assert.Equal(t, unsafe.Sizeof(uintptr(0)), unsafe.Sizeof(address{}))
}

func TestClaimBeginsNothingAtRest(t *testing.T) {
	var d address
	_, ok := d.Claim()
	assert.False(t, ok)
	assert.Nil(t, d.current.Load())
}

func TestALoneCallerLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it would fail if an owner were left
		var d address
		for range 3 {
			require.Nil(t, d.Exit(enter(t, &d)))
			requireRest(t, &d)
		}
		assert.Equal(t, 1, int(testing.AllocsPerRun(100, func() {
			_, alone := d.ClaimOrEnter(nil)
			d.Exit(alone)
		})))
	})
}

func TestMessagesAreHandledInTheOrderOfSending(t *testing.T) {
	var d address
	a := meet(t, &d)
	a.Send(kept{"first"})
	b, alone := d.ClaimOrEnter(nil)
	require.Nil(t, alone)
	require.Same(t, a, b)
	b.Send(remark{"second", nil})
	a.Send(remark{"third", nil})
	answer := make(chan []string, 1)
	a.Send(remark{"fourth", answer})

	assert.Equal(t, []string{"first", "second", "third", "fourth"}, <-answer)
	requireRest(t, &d)
}

// A find answers with the note that the owner found.
type find struct{ found chan<- **blob }

func (m find) Handle(o *owner) {
	found := o.Note
	o.Release()
	m.found <- found
}

func TestOwnerFindsTheNote(t *testing.T) {
	for name, claim := range map[string]func(*address) *activation{
		"by Claim": func(d *address) *activation {
			a, _ := d.Claim()
			return a
		},
		"by ClaimOrEnter": func(d *address) *activation {
			a, _ := d.ClaimOrEnter(new(blob))
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			var d address
			b := new(blob)
			_, alone := d.ClaimOrEnter(b)
			require.Same(t, b, *alone)
			a := claim(&d)
			found := make(chan **blob, 1)
			a.Send(find{found})
			assert.Same(t, alone, <-found)
			d.Exit(alone).Send(find{found})
			assert.Same(t, alone, <-found)
			requireRest(t, &d)
		})
	}
}

func TestExitReturnsTheActivationOfTheOthers(t *testing.T) {
	var d address
	alone := enter(t, &d)
	b := claim(t, &d)
	a := d.Exit(alone)
	require.Same(t, b, a)

	// Both claims are good for a message.
	a.Send(remark{"alone before", nil})
	answer := make(chan []string, 1)
	b.Send(remark{"other", answer})
	assert.Equal(t, []string{"alone before", "other"}, <-answer)
	requireRest(t, &d)
}

// A page is large, so that copying it takes much longer than an atomic step.
type page [1 << 18]int64

// Another processor watches the address. An entry must be complete as soon as it is
// visible. A machine with one processor has to rely on time slices that end while a
// page is copied.
func TestEntryIsCompleteBeforeItIsVisible(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	const entries = 50
	var d Address[tally, page]
	var seen atomic.Pointer[page]
	incomplete := 0
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for range entries {
			e := d.current.Load()
			for e == nil || &e.note == seen.Load() {
				e = d.current.Load()
			}
			if e.note[len(e.note)-1] == 0 {
				incomplete++
			}
			seen.Store(&e.note)
		}
	})
	var left page
	left[len(left)-1] = 1
	for range entries {
		_, alone := d.ClaimOrEnter(left)
		for seen.Load() != alone {
			runtime.Gosched()
		}
		require.Nil(t, d.Exit(alone))
	}
	watcher.Wait()
	assert.Zero(t, incomplete)
}

// A lastRelease panics at the point where Release would clear the address.
type lastRelease struct{ claims chan<- int64 }

func (m lastRelease) Handle(o *owner) {
	defer func() {
		recover()
		o.ended = true // as Release did not get that far
		m.claims <- o.claims.Load()
	}()
	o.address = nil
	o.Release()
}

func TestActivationIsOverBeforeTheAddressIsCleared(t *testing.T) {
	var d address
	a := meet(t, &d)
	a.Send(remark{})
	claims := make(chan int64, 1)
	a.Send(lastRelease{claims})
	assert.Negative(t, <-claims)
}

func TestNoNumberOfLateClaimsRevivesAnActivation(t *testing.T) {
	var d address
	a := end(t, &d)
	for range 100_000 {
		d.current.Store(&a.entry) // as seen by a caller that loaded it before the end
		_, ok := d.Claim()
		require.False(t, ok)
	}
}

// An age adds 2^31 to the claims that the owner has released.
type age struct{}

func (age) Handle(o *owner) {
	for range 2 {
		o.released += 1 << 30
	}
	o.Release()
}

// A server that is never idle makes claims in one activation for as long as it
// runs: 32 bits would not last for an hour.
func TestActivationMayCountMoreClaimsThan32BitsHold(t *testing.T) {
	var d address
	a := meet(t, &d)
	for range 2 {
		a.claims.Add(1 << 30)
	}
	a.Send(age{})
	require.Same(t, a, claim(t, &d))
	a.Send(remark{})
	answer := make(chan []string, 1)
	a.Send(remark{handled: answer})
	assert.Len(t, <-answer, 2)
	requireRest(t, &d)
}

// A last answers whether its claim was the last.
type last struct{ last chan<- bool }

func (m last) Handle(o *owner) { m.last <- o.Release() }

func TestReleaseReportsTheLastClaim(t *testing.T) {
	var d address
	a := meet(t, &d)
	answer := make(chan bool, 1)
	a.Send(last{answer})
	assert.False(t, <-answer)
	a.Send(last{answer})
	assert.True(t, <-answer)
	requireRest(t, &d)
}

func TestMisusePanics(t *testing.T) {
	const exit = "actor: Exit without a matching ClaimOrEnter, or called twice"
	t.Run("Exit at rest", func(t *testing.T) {
		var d address
		assert.PanicsWithValue(t, exit, func() { d.Exit(nil) })
		alone := enter(t, &d)
		d.Exit(alone)
		assert.PanicsWithValue(t, exit, func() { d.Exit(alone) })
		requireRest(t, &d)
	})
	t.Run("Exit while another caller is alone", func(t *testing.T) {
		var d address
		first := enter(t, &d)
		d.Exit(first)
		second := enter(t, &d)
		assert.PanicsWithValue(t, exit, func() { d.Exit(first) })
		require.Nil(t, d.Exit(second), "the second caller is still there")
	})
	t.Run("Exit in an activation", func(t *testing.T) {
		var d address
		alone := enter(t, &d)
		other := claim(t, &d)
		assert.PanicsWithValue(t, exit, func() { d.Exit(new(*blob)) })
		a := d.Exit(alone)
		assert.PanicsWithValue(t, exit, func() { d.Exit(alone) })
		assert.PanicsWithValue(t, exit, func() { d.Exit(nil) })
		a.Send(remark{})
		answer := make(chan []string, 1)
		other.Send(remark{handled: answer})
		<-answer
		requireRest(t, &d)
	})
	t.Run("Send of nil", func(t *testing.T) {
		var d address
		a := meet(t, &d)
		assert.PanicsWithValue(t, "actor: Send of a nil message", func() { a.Send(nil) })
		a.Send(remark{})
		a.Send(remark{})
	})
	t.Run("Send after the end", func(t *testing.T) {
		var d address
		a := end(t, &d)
		assert.PanicsWithValue(t, "actor: Send without a claim, in an activation that is over", func() { a.Send(remark{}) })
	})
	t.Run("Send without a claim, before the end", func(t *testing.T) {
		var d address
		a := &activation{address: &d, mailbox: make(chan Message[ledger, *blob], mailboxSize)}
		a.claims.Store(1)
		a.Send(remark{})
		a.Send(remark{})
		assert.PanicsWithValue(t, "actor: Send without a claim, in an activation that has ended since", func() { a.own(nil) })
	})
	t.Run("Release twice", func(t *testing.T) {
		var d address
		alone := enter(t, &d)
		other := claim(t, &d)
		panicked := make(chan any, 1)
		other.Send(twice{panicked})
		assert.Equal(t, "actor: claim released twice", <-panicked)
		a := d.Exit(alone)
		require.Same(t, other, a, "the other claim still holds")
		answer := make(chan []string, 1)
		a.Send(remark{handled: answer})
		<-answer
		requireRest(t, &d)
	})
}

// A twice releases its claim twice.
type twice struct{ panicked chan<- any }

func (m twice) Handle(o *owner) {
	defer func() { m.panicked <- recover() }()
	o.Release()
	o.Release()
}

// On one processor, the goroutine that gets an answer runs once the owner blocks or
// yields. An owner that waits for a message is asleep by then; one that has yielded is
// runnable, behind every goroutine that computes.
func TestOwnerWaitsWithoutYielding(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const trials, burst = 200, 10
	asleep := map[int]int{}
	for range trials {
		for _, messages := range []int{1, burst} {
			var d address
			a := meet(t, &d)
			for range messages - 1 {
				claim(t, &d).Send(remark{})
			}
			answer := make(chan []string, 1)
			a.Send(remark{handled: answer})
			<-answer
			if strings.Contains(stackOf("actor.(*Activation[...]).own("), " [chan receive") {
				asleep[messages]++
			}
			a.Send(remark{handled: answer})
			<-answer
		}
	}
	// The scheduler may have preempted some owners, but not half of them.
	assert.Greater(t, asleep[1], trials/2)
	assert.Greater(t, asleep[burst], trials/2)
}

// stackOf returns the stack of the goroutine that is in function.
func stackOf(function string) string {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		if strings.Contains(stack, function) {
			return stack
		}
	}
	return ""
}

func TestClaimDoesNotWaitForTheOwnerThatEndsTheActivation(t *testing.T) {
	var d address
	a := meet(t, &d)
	a.claims.Store(over) // it is over, but its address is not cleared yet
	defer func() {       // let the owner go
		a.claims.Store(2)
		a.Send(remark{})
		a.Send(remark{})
	}()

	requireRest(t, &d)
	assert.Nil(t, d.current.Load())
	enter(t, &d)
}

func TestEndClearsOnlyItsOwnActivation(t *testing.T) {
	var d address
	a := meet(t, &d)
	d.current.Store(nil)  // another caller cleared the address,
	alone := enter(t, &d) // and then entered
	entered := d.current.Load()

	a.Send(remark{})
	answer := make(chan []string, 1)
	a.Send(remark{"last", answer})
	<-answer
	assert.Same(t, entered, d.current.Load())
	require.Nil(t, d.Exit(alone))
}

func TestAtRestBeforeTheAnswer(t *testing.T) {
	var d address
	for range 10_000 {
		answer := make(chan []string, 1)
		a := meet(t, &d)
		a.Send(remark{"first", nil})
		a.Send(remark{"last", answer})
		require.Len(t, <-answer, 2, "a new activation starts with a new state")
		require.Equal(t, int64(over), a.claims.Load(), "no caller can claim it")
		require.Nil(t, d.current.Load(), "nothing is kept")
		requireRest(t, &d)
	}
}

func TestSendWaitsOnlyWhileTheMailboxIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d address
		a := meet(t, &d)
		gate := make(chan struct{})
		a.Send(stop{gate})
		synctest.Wait() // the owner has taken the message, and is held up
		a.Send(remark{"fits", nil})

		for range mailboxSize - 1 {
			claim(t, &d).Send(remark{"fits", nil})
		}
		answer := make(chan []string, 1)
		sent := make(chan struct{})
		late := claim(t, &d)
		go func() {
			late.Send(remark{"waits", answer})
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

func TestOwnerDoesNotWaitForItsStarter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it would fail if all waited
		var d address
		alone := enter(t, &d)
		starter := claim(t, &d)
		sent := make(chan struct{})
		go func() {
			for range mailboxSize + 1 {
				a, _ := d.Claim()
				a.Send(remark{})
			}
			close(sent)
		}()
		<-sent
		answer := make(chan []string, 1)
		d.Exit(alone).Send(remark{})
		starter.Send(remark{handled: answer})
		assert.Len(t, <-answer, mailboxSize+3)
		requireRest(t, &d)
	})
}

// A count adds to n, which every owner uses without protection. Two owners at
// once would lose counts, and the race detector would see them.
type count struct {
	n    *int
	done *sync.WaitGroup
}

type tally struct{} // an empty state: n must outlive activations

func (m count) Handle(o *Owner[tally, int]) {
	*m.n++
	o.Release()
	m.done.Done()
}

func TestBurstAsAnActivationBegins(t *testing.T) {
	const rounds, senders = 200, 8 * mailboxSize
	var d Address[tally, int]
	n := 0
	for range rounds {
		var ready, done sync.WaitGroup
		gate := make(chan struct{})
		_, alone := d.ClaimOrEnter(0) // so that the first of the senders begins the activation
		require.NotNil(t, alone)
		for range senders {
			ready.Add(1)
			done.Add(1)
			go func() {
				ready.Done()
				<-gate
				a, _ := d.Claim()
				a.Send(count{&n, &done})
			}()
		}
		ready.Wait()
		close(gate)
		done.Wait()
		done.Add(1)
		d.Exit(alone).Send(count{&n, &done})
		done.Wait()
		requireRest(t, &d)
	}
	assert.Equal(t, rounds*(senders+1), n)
}

func TestEndsThatRaceWithClaims(t *testing.T) {
	const each = 20_000
	var d Address[tally, int]
	var n int // used by owners only
	var left, sent atomic.Int64
	var senders, handled sync.WaitGroup
	send := func(a *Activation[tally, int]) {
		handled.Add(1)
		sent.Add(1)
		a.Send(count{&n, &handled})
	}
	for i := range 4 {
		senders.Go(func() {
			for range each {
				if i == 0 { // claims without entering
					if a, ok := d.Claim(); ok {
						send(a)
					}
					continue
				}
				a, alone := d.ClaimOrEnter(0)
				if a == nil {
					a = d.Exit(alone)
				}
				if a == nil {
					left.Add(1)
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
	assert.GreaterOrEqual(t, left.Load()+sent.Load(), int64(3*each))
}

// hold keeps a blob in the owner's state.
type hold struct{ blob *blob }

func (m hold) Handle(o *owner) {
	o.State.blob = m.blob
	o.Release()
}

func TestNothingIsKeptAtRest(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, d *address, b *blob){
		"by the caller that was alone": func(t *testing.T, d *address, b *blob) {
			_, alone := d.ClaimOrEnter(b)
			require.Nil(t, d.Exit(alone))
		},
		"by the owner": func(t *testing.T, d *address, b *blob) {
			a := meet(t, d)
			a.Send(hold{b})
			a.Send(remark{"last", nil})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d address
				b := new(blob)
				held := weak.Make(b)
				use(t, &d, b)
				synctest.Wait()
				runtime.GC()
				assert.Nil(t, held.Value())
				runtime.KeepAlive(&d)
			})
		})
	}
}

// drop drops the note.
type drop struct{}

func (drop) Handle(o *owner) { o.Note = nil }

func TestTheNoteIsNotKeptIfTheOwnerDropsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d address
		a, held := func() (*activation, weak.Pointer[blob]) {
			b := new(blob)
			_, alone := d.ClaimOrEnter(b)
			claim(t, &d)
			return d.Exit(alone), weak.Make(b)
		}()
		runtime.GC()
		require.NotNil(t, held.Value())

		a.Send(drop{})
		synctest.Wait()
		runtime.GC()
		assert.Nil(t, held.Value())
		a.Send(remark{})
		a.Send(remark{})
		synctest.Wait()
		requireRest(t, &d)
	})
}
