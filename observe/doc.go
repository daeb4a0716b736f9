// Package observe answers what one asks of a service that hangs: which key is stuck and
// since when, who began it, how many wait for it, and how many calls were spared.
//
// [GroupOf] and [ShardedOf] are used as those of package singleflight are, and promise
// the same. A [Handler] shows what is in flight in them in a browser, and a
// [Collector] gives their figures to Prometheus:
//
//	var users = observe.GroupOf[int64, *User]{Name: "users"} // was a singleflight.GroupOf
//
//	func main() {
//		prometheus.MustRegister(observe.Collector(&users))
//		admin.Handle("GET /debug/singleflight", observe.Handler(&users))
//
// The page shows keys, which may be secrets: only those who may see them should reach it.
// The metrics have none.
//
// # Who began it
//
// The function of a DoContext or DoChanContext, and of the fresh calls, gets a context
// with the values of its own caller's. An Owner, if the group has one, makes of that what
// the page shows: the user, the request or the trace. Calls without a context have nothing
// of the kind, nor has a flight that has not begun.
//
// # Fresh calls
//
// A DoFresh or DoChanFresh counts as a DoContext does. While it waits for the flight in
// progress to end, it is among the calls that wait, and the page shows its flight as
// waiting. The time of a flight, and its age, begin when its function does.
//
// # What it costs
//
// An observed call that meets no other takes about a quarter of a microsecond more than a
// bare one, for two looks at the clock, a record of 48 bytes and some counters. A
// DoChanContext or DoChanFresh takes a goroutine more, and so about half a microsecond; its
// waiters hold a goroutine's stack each. Programs that do not use this package pay nothing.
//
// A scrape or a page asks the group's owner for all flights: with 10,000 of them
// that is a few milliseconds, in which the owner answers no call. And a group with a flight
// that is alone has an owner from the scrape until that flight lands: meanwhile other calls
// take as long as calls that meet. See [singleflight.GroupOf.InFlight].
//
// # How it works
//
// The library gets each call with a context of this package, which has a record of the
// call behind the values of the caller's. fn's context has these values, too, and the
// library's InFlight shows it: so a flight is found with its record. DoChan takes no
// context, so its flights are in a list here. Besides the library's, the counting takes
// no lock but where DoChan begins a flight.
package observe
