package observe

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// A record is what is known of one call, and of the flight of its fn. It is the context
// that the library gets, so the record of a flight is found in fn's context, which
// InFlight shows.
type record struct {
	// Immutable:
	context.Context                 // the caller's
	done            <-chan struct{} // its Done
	hash            uint64          // of the key
	plain           bool            // the call has no context

	steps atomic.Uint32 // called and left, once they have happened
	begun atomic.Int64  // when fn began, by clock; 0 if it has not
}

// What may become of a call, in either order.
const (
	called uint32 = 1 << iota // its fn has been called
	left                      // its context has ended, and it gets no result
)

type recordKey struct{}

func (r *record) Value(key any) any {
	if key == (recordKey{}) {
		return r
	}
	return r.Context.Value(key)
}

// Err returns r itself when the context has ended. That distinguishes the error of a call
// that leaves from any error that fn returns.
func (r *record) Err() error {
	if r.Context.Err() == nil {
		return nil
	}
	return r
}

// Done is called once of the caller's context, as by the library: it may change.
func (r *record) Done() <-chan struct{} { return r.done }

func (r *record) Error() string { return r.Context.Err().Error() }

// endedWithoutError reports whether the context has ended, but says nothing of it in Err, as
// some contexts do that are not of package context.
func (r *record) endedWithoutError() bool {
	select {
	case <-r.done:
		return r.Context.Err() == nil
	default:
		return false
	}
}

// step adds s to the steps of the call, and reports whether it now has both.
func (r *record) step(s uint32) (both bool) {
	return r.steps.Or(s)&^s != 0
}

func (r *record) wasCalled() bool { return r.steps.Load()&called != 0 }

// recordOf returns the record of the flight whose fn got ctx, even if that flight is
// nested in others.
func recordOf(ctx context.Context) *record {
	if ctx == nil {
		return nil
	}
	r, _ := ctx.Value(recordKey{}).(*record)
	return r
}

var base = time.Now()

// clock returns the time since the program began, which is cheaper than the time of day.
func clock() int64 { return int64(time.Since(base)) }

// exiting reports whether a deferred function runs because of [runtime.Goexit], not
// because of a panic. (Recovering the panic and raising it again would lose the stack.) It
// searches the frames up to that of the function whose name ends with caller.
func exiting(caller string) bool {
	const more = 64
	for skip := 2; ; skip += more {
		var pcs [more]uintptr
		n := runtime.Callers(skip, pcs[:])
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(pcs[:n])
		for {
			frame, again := frames.Next()
			if frame.Function == "runtime.Goexit" {
				return true
			}
			if strings.HasSuffix(frame.Function, caller) {
				return false
			}
			if !again {
				break
			}
		}
	}
}
