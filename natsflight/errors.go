package natsflight

import (
	"errors"
	"fmt"
)

var (
	// ErrLeaseLost is the cause of the context of an fn whose flight has lost its
	// lease: another process may run fn for the key.
	ErrLeaseLost = errors.New("natsflight: the lease was lost")

	// ErrMaxFlight is the cause of the context of an fn whose flight has lasted for
	// Config.MaxFlight, and what the callers of that flight in its process get when fn
	// has returned. Other calls do not wait for that.
	ErrMaxFlight = errors.New("natsflight: the flight has lasted for Config.MaxFlight")

	// ErrUnavailable is what Do returns while the engine is out of reach, or has no room for
	// a flight, if Config.OnOutage is Fail; what Forget returns if it cannot ask the leader, or
	// the stream does not accept its record; and what New returns. It is wrapped together with
	// the cause.
	ErrUnavailable = errors.New("natsflight: the engine is unavailable")

	// ErrClosed is what the methods of a closed Group return, and the cause of the
	// context of an fn that runs while its Group is closed.
	ErrClosed = errors.New("natsflight: the Group is closed")
)

// A RemoteError is the failure of an fn that ran in another process: its error, its
// panic or its Goexit, as text. In the process in which fn ran, callers get the failure
// itself.
type RemoteError struct {
	Process string // Config.Process of the process in which fn ran
	Text    string // at most Config.MaxResult bytes of it
}

func (e *RemoteError) Error() string { return fmt.Sprintf("%s (in %s)", e.Text, e.Process) }

// A TooLargeError is what all callers of a flight get, in all processes, if its result is
// larger than Config.MaxResult, or than the server accepts after its max_payload was lowered.
type TooLargeError struct {
	Size, Limit int // in bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("natsflight: the result has %d bytes, and the limit is %d", e.Size, e.Limit)
}
