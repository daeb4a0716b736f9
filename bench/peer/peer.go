// Package peer puts the libraries that suppress duplicate calls behind one
// small interface, so that the same workloads run on all of them. There is one
// file for each.
package peer

import "context"

// A Group runs one function at a time for each key. It adds to the cost of its library
// an interface call, and a closure if the library wants another form of fn.
type Group interface {
	Do(key string, fn func() (any, error)) (any, error)
}

// A DoChanner is a Group that can also deliver its results on a channel.
type DoChanner interface {
	Group

	// DoChan starts fn, or joins it, and waits for the channel.
	DoChan(key string, fn func() (any, error)) (any, error)
}

// A ContextDoer is a Group whose callers may leave.
type ContextDoer interface {
	Group

	// DoContext starts fn, or joins it, and returns when fn has or ctx ends.
	DoContext(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error)
}

// A Forgetter is a Group that can free a key.
type Forgetter interface {
	ContextDoer
	Forget(key string)
}

// A Fresher is a Group whose callers may ask for the result of a function that begins after
// the call.
type Fresher interface {
	ContextDoer

	// DoFresh is DoContext, but joins no function that has begun.
	DoFresh(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error)
}

// A Lister is a Group that can say what is in flight.
type Lister interface {
	ContextDoer

	// InFlight lists the flights, and returns how many there are.
	InFlight() int
}

// A Peer is a library.
type Peer struct {
	Name string
	New  func() Group

	// Recovers says that the caller of Do can recover a panic of fn, and that the
	// key is free afterwards.
	Recovers bool

	// ContextOnly keeps the peer out of the comparison with x/sync, which is wide already.
	ContextOnly bool
}

// Names of peers.
const (
	Own      = "actorflight" // this library; its sharded form's name begins with this
	Baseline = "x-sync"      // what the others are compared with

	// ContextBaseline is what the others are compared with in calls with a context,
	// which x/sync does not have.
	ContextBaseline = "resenje"

	// Observed is this library with package observe around it. It is compared with the
	// library alone, and not with the others.
	Observed = "observe"
)

// All are the peers.
var All = []Peer{
	{Name: Own, New: newActorflight, Recovers: true},
	{Name: Own + "-sharded", New: newActorflightSharded, Recovers: true},
	{Name: Baseline, New: newXSync, Recovers: true},
	{Name: Baseline + "-sharded", New: newXSyncSharded, Recovers: true},
	{Name: "tailscale", New: newTailscale, Recovers: true},
	{Name: "resenje", New: newResenje},
	{Name: "go-zero", New: newGoZero, Recovers: true},
	{Name: "go4", New: newGo4},
	{Name: "groupcache", New: newGroupcache},
	{Name: "monitor", New: newMonitor},
	{Name: "msync", New: newMsync, ContextOnly: true},
	{Name: Observed, New: newObserved, Recovers: true},
}
