// Package natsflight suppresses duplicate calls in a whole fleet: of many processes that
// call for the same key at the same time, one runs the function, and all get its result.
// The processes meet in a stream of NATS JetStream, the engine.
//
//	nc, err := nats.Connect("nats://nats.example.com")
//	js, err := jetstream.New(nc)
//	g, err := natsflight.New(ctx, js, natsflight.Config{Stream: "reports"}) // once in a process
//	defer g.Close(ctx)
//
//	report, err, shared := g.Do(ctx, "2026-11", func(ctx context.Context, token uint64) ([]byte, error) {
//		return compute(ctx, "2026-11") // once in the fleet
//	})
//
// [Of] gives a Group results of any type. Most programs do not need this package: N
// processes with a [singleflight.Group] each make at most N calls where natsflight makes
// one.
//
// # Normally one
//
// A flight has one leader: the process that runs the function. It holds a lease, which it
// renews while the function runs. While it holds the lease, no other process of the fleet
// runs a function for the key. But it can lose the lease without knowing it, so this is
// not a lock. When the process learns of the loss, the context of its function ends with
// the cause [ErrLeaseLost], and the result is not used.
//
// Where two functions must never both take effect, pass the token that the function gets
// to the store. Tokens grow from flight to flight, so the store can reject a write whose
// token is smaller than one that it has seen. A stream that loses what it has stored, as
// its only node loses power, may give a token again that no running process has seen;
// README.md says how to rule that out.
//
// Two functions of a key may run at the same time
//   - after Forget;
//   - if fn runs on when its flight has lasted for Config.MaxFlight;
//   - if the leader's process is stopped, or cut off without its connection being closed,
//     for longer than the lease;
//   - if the leader's connection is closed for longer than about 0.15 s while others wait:
//     they then take its lease;
//   - if, of three nodes, those of the leader and of a waiter do not reach each other, and
//     both reach that of the stream's leader: the leader then seems to be dead;
//   - if the clock of a node of the engine jumps ahead: leases run out by these clocks;
//   - while the engine is out of reach, or its stream is full, if Config.OnOutage is
//     RunLocally: one in each process, besides those that were running.
//
// # Freshness
//
// A call gets a result only if no call of the fleet had returned it when the call began.
// Nothing is cached. So a caller that writes and then calls does not get a value that was
// read before the write, unless a flight was in progress during the write. Call Forget
// after the write to rule that out.
//
// # Callers that leave
//
// A caller leaves when its context ends. When all callers have left, the context of the
// function ends. The leader knows of callers in other processes because they ask about the
// flight while they wait: once they have, a stand-in in the leader's process is one more
// caller, which leaves when no process has asked for 1 s.
//
// # How it works
//
// The stream holds at most one record per key, under the subject STREAM.k.HASH. A call
// publishes a record "do", which the stream accepts only if the key's last record is the
// one that the call expects; the call then leads. Its lease is the lifetime of the record,
// and the sequence of the record is the token. When the function has returned, the leader
// replaces the record by the result, on the same condition. The result has a lifetime, too.
//
// A call that is refused asks the stream for the key's record. If that is a do, the call
// asks the flight's leader, at STREAM.p.PROCESS, whether the flight can still be joined.
// The leader says no before it hands over the result, so that no call joins a flight whose
// result a caller may have. A call that has joined waits for the result at STREAM.r.HASH,
// where the stream republishes what it has stored. A call that came too late also waits
// until the flight has ended, and then starts over. If the leader's connection has been up
// all the time, the leader also sends the result there itself, before it is stored.
//
// A waiting process asks the leader's process again and again, at intervals of 75 to 150 ms,
// whether the flights go on that it waits for: one question is about all flights of that
// process. If the engine says twice in a row that nothing listens there, the process is dead
// or cut off. The waiters then publish do records in place of its record, and the stream
// accepts one of them. A process that does not answer, but is connected, keeps its flight
// until its lease has run out.
//
// Forget asks the leader to let no more calls join the flight, and then publishes a record in
// place of the one that it has read, even if that is no do: a node that no longer leads the
// stream may have answered. It begins anew until the stream accepts its record.
//
// In each process, a [singleflight.GroupOf] stands before all this: the callers that come
// while a call of theirs leads share that call, and send nothing. Those that come while their
// process waits for another one's flight make a call each, because each must ask whether it
// may still join.
package natsflight
