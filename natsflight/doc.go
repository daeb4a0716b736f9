// Package natsflight suppresses duplicate calls in a whole fleet: of many processes
// that call for the same key at the same time, one runs the function, and all get
// its result. The processes meet in a stream of NATS JetStream.
//
//	nc, err := nats.Connect("nats://nats.example.com")
//	js, err := jetstream.New(nc)
//	g, err := natsflight.New(js, natsflight.Config{Stream: "reports"})
//	defer g.Close()
//
//	report, err, shared := g.Do(ctx, "2026-11", func(ctx context.Context, token uint64) ([]byte, error) {
//		return compute(ctx, "2026-11") // once in the fleet
//	})
//
// [Of] gives a Group results of any type. Most programs do not need this package: with
// N processes, [singleflight.Group] makes at most N calls where natsflight makes one.
//
// # Normally one
//
// A flight has one leader: the process that runs the function. It holds a lease, which it
// renews while the function runs. Normally, no two functions of a key run at the same
// time in the fleet. This is no lock, and cannot be one: a process that is stopped, or
// cut off from the engine, may go on after another has taken over its flight. The context of
// its function then ends with [ErrLeaseLost], as soon as the process knows it, and its
// result is not shared. Where there must not be two, use the token that the function gets:
// it grows from flight to flight, so a store can reject a write with a smaller one than
// it has seen.
//
// Two functions of a key may run at the same time
//   - after Forget;
//   - if the leader's process is stopped, or starved of processor time, for longer than
//     the lease;
//   - if the leader's process is cut off from the engine for longer than about 0.2 s, if others
//     wait, or for longer than the lease if none do;
//   - while the engine is out of reach, if Config.OnOutage is RunLocally: one in each process.
//
// # No result is old
//
// A call gets a result only if no call of the fleet had returned it when the call began.
// So a caller that writes, and then calls, does not get what a caller before it has read,
// unless a flight was in progress all the while; then Forget helps, as in singleflight.
// Nothing is cached.
//
// # Leaving
//
// A caller leaves when its context ends. When all callers in the leader's process have
// left, the context of the function ends, even if callers in other processes wait. If the
// function then returns an error, these begin a new flight; if it returns a value, they
// get it.
//
// # How it works
//
// The stream has one record of each key, under the subject STREAM.k.HASH. A call publishes
// a record "do", which the stream accepts only if the record before is the one that the call
// expects: then the call leads, and its lease is the lifetime of the record. When its
// function has returned, the leader replaces the record by the result, on the same
// condition; the result has a lifetime, too.
//
// A call that is refused asks the stream's leader for the record. If that is a do, it asks the
// flight's leader, under STREAM.p.PROCESS, whether the flight can still be joined. The
// answer is no from the moment that the function has returned, so no call joins a flight whose result a
// caller may have. A call that has joined waits for the result under STREAM.r.HASH, where
// the stream republishes what it has stored. A call that came too late waits for the end, too,
// and then begins anew.
//
// Waiters ask the leader's process every 150 ms whether it is alive. If the engine says
// twice that nothing listens there, they take over at once: each publishes a do
// that expects the dead process's, and one is accepted. A process that is alive but does not answer
// keeps its flight until the lease has run out.
//
// In each process, a [singleflight.GroupOf] stands before all this, so that callers of
// a process share a call to the fleet.
package natsflight
