package natsflight

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// An Outage says what Do does while the engine cannot be asked, or has no room.
type Outage int

const (
	// RunLocally runs fn with the token 0, one at a time for a key in each process.
	RunLocally Outage = iota
	// Fail returns ErrUnavailable.
	Fail
)

// A Config describes a Group. The zero value of each field means its default, except
// Stream, which must be set.
//
// All processes of the fleet must use the same Stream, Replicas, MaxBytes, Lease,
// ResultLife and MaxResult. An operator may change the stream's replicas and limit later.
type Config struct {
	// Stream names the JetStream stream that holds the flights, and is the first
	// token of all subjects. It consists of letters, digits, '_' and '-'. New creates
	// the stream if it does not exist. Groups with the same stream share their flights.
	Stream string

	// Replicas is the number of nodes that hold the stream that New creates: 1, 3 or 5.
	// Default: 1.
	Replicas int

	// MaxBytes limits the stream that New creates, in bytes; some accounts require that. A
	// quarter of it is kept for flights in progress, and so it is at least four times what
	// a result and its headers take. Default: no limit.
	MaxBytes int64

	// Lease is how long a flight stays reserved for its leader after the last
	// renewal, and so how long a machine that has gone silent blocks a key. The leader
	// renews it at every third of it. It is whole seconds, at least one. Default: 10 s.
	Lease time.Duration

	// ResultLife is how long the stream keeps a result for waiters that missed it while
	// they reconnected. It is whole seconds, at least one. This is not a cache: a call
	// that begins after the flight has landed does not get the result. Default: 1 s.
	ResultLife time.Duration

	// MaxFlight is the longest that a flight may last, so that a function that hangs does
	// not block its key for ever. When a flight has lasted for so long, the context of its
	// function ends with the cause ErrMaxFlight, other calls begin a new flight, and when
	// the function has returned, its callers get ErrMaxFlight, whatever it returns.
	// Default: no limit.
	MaxFlight time.Duration

	// OnOutage says what Do does while the engine cannot be asked, or has no room. Default:
	// RunLocally.
	OnOutage Outage

	// MaxResult is the largest result, in bytes, that fn may return. It is at most what
	// the server accepts in one message, less 4 KiB for headers. Default: that limit,
	// 1,044,480 bytes with the server's default of 1 MiB.
	MaxResult int

	// Log gets what an operator should know: why this process has stopped working with the
	// engine, that it works with it again, and that the stream is full. Default:
	// slog.Default().
	Log *slog.Logger

	// Process names this process in a RemoteError, in at most 256 bytes without control
	// characters. Default: the host's name and the process ID.
	Process string
}

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

const (
	// headroom is what a message needs beside its payload, in bytes.
	headroom = 4 << 10
	// usual is what it mostly needs, in the stream.
	usual = 512
)

// check returns c with its defaults, or an error that names every bad value. Messages
// may have maxPayload bytes.
func (c Config) check(maxPayload int, process string) (Config, error) {
	limit := maxPayload - headroom
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.Lease = cmp.Or(c.Lease, 10*time.Second)
	c.ResultLife = cmp.Or(c.ResultLife, time.Second)
	c.MaxFlight = cmp.Or(c.MaxFlight, math.MaxInt64)
	c.MaxResult = cmp.Or(c.MaxResult, limit)
	c.Log = cmp.Or(c.Log, slog.Default())
	c.Process = cmp.Or(c.Process, process)

	var bad []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	wrong(!streamName.MatchString(c.Stream), "Stream is %q: it must be letters, digits, '_' and '-'", c.Stream)
	wrong(c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5, "Replicas is %d: it must be 1, 3 or 5", c.Replicas)
	wrong(c.MaxBytes != 0 && c.MaxBytes < 4*int64(c.MaxResult+headroom),
		"MaxBytes is %d: it must be 0, or at least %d", c.MaxBytes, 4*int64(c.MaxResult+headroom))
	wrong(c.Lease < time.Second || c.Lease%time.Second != 0, "Lease is %v: it must be whole seconds, at least one", c.Lease)
	wrong(c.ResultLife < time.Second || c.ResultLife%time.Second != 0,
		"ResultLife is %v: it must be whole seconds, at least one", c.ResultLife)
	wrong(c.MaxFlight < 0, "MaxFlight is %v: it must be positive, or 0 for no limit", c.MaxFlight)
	wrong(c.OnOutage != RunLocally && c.OnOutage != Fail, "OnOutage is %d: it must be RunLocally or Fail", c.OnOutage)
	wrong(c.MaxResult < 0 || c.MaxResult > limit, "MaxResult is %d: it must be 1 to %d", c.MaxResult, limit)
	wrong(len(c.Process) > 256 || strings.ContainsFunc(c.Process, unicode.IsControl),
		"Process is %q: it must be at most 256 bytes, without control characters", c.Process)
	if bad != nil {
		return c, fmt.Errorf("natsflight: bad Config: %w", errors.Join(bad...))
	}
	return c, nil
}
