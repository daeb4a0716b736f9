package natsflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// wanted returns the stream that a process creates if there is none.
func (e *engine) wanted() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              e.config.Stream,
		Description:       "flights of github.com/actorflight/singleflight/natsflight",
		Subjects:          []string{e.subject("*")},
		Replicas:          e.config.Replicas,
		MaxBytes:          e.config.MaxBytes,
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: 1,
		AllowMsgTTL:       true,
		RePublish:         &jetstream.RePublish{Source: e.subject("*"), Destination: e.results("{{wildcard(1)}}")},
		// If the stream was deleted, tokens go on from the clock, which is ahead of them,
		// because no stream gets a record each microsecond. If the clock was set back, they
		// go on from those that this process has seen; others may have seen some more.
		FirstSeq: max(uint64(time.Now().UnixMicro()), e.newest.Load()+1e6),
	}
}

// A mismatch is why a Group cannot work with its stream until an operator changes it.
type mismatch string

func (m mismatch) Error() string { return "natsflight: stream " + string(m) }

// unfit returns why a Group cannot live with a stream, or nil. The operator may set what
// is not named here.
func (e *engine) unfit(is jetstream.StreamConfig) error {
	want := e.wanted()
	life := max(e.config.Lease, e.config.ResultLife)
	size := e.config.MaxResult + headroom
	for _, setting := range []struct {
		name string
		fits bool
		is   any
		must string
	}{
		{"Subjects", slices.Contains(is.Subjects, want.Subjects[0]), is.Subjects, "contain " + want.Subjects[0]},
		{"SubjectTransform", is.SubjectTransform == nil, is.SubjectTransform, "be unset"},
		{"RePublish", reflect.DeepEqual(is.RePublish, want.RePublish), is.RePublish, fmt.Sprintf("be %+v", *want.RePublish)},

		// A lease must be the only record of its key, and end when its life does: not before, and not after.
		{"MaxMsgsPerSubject", is.MaxMsgsPerSubject == 1, is.MaxMsgsPerSubject, "be 1"},
		{"AllowMsgTTL", is.AllowMsgTTL, is.AllowMsgTTL, "be true, which needs a server of version 2.11 or newer"},
		{"Retention", is.Retention == jetstream.LimitsPolicy, is.Retention, "be Limits"},
		{"MaxAge", is.MaxAge == 0 || is.MaxAge >= life, is.MaxAge, fmt.Sprint("be unlimited, or at least ", life)},
		{"Discard", is.Discard == jetstream.DiscardNew || is.MaxBytes <= 0, is.Discard, "be DiscardNew, as MaxBytes is set"},

		// Renewals and landings must be stored.
		{"MaxMsgs", is.MaxMsgs <= 0, is.MaxMsgs, "be unlimited; limit MaxBytes"},
		{"DiscardNewPerSubject", !is.DiscardNewPerSubject, is.DiscardNewPerSubject, "be false"},
		{"MaxMsgSize", is.MaxMsgSize <= 0 || int(is.MaxMsgSize) >= size, is.MaxMsgSize, fmt.Sprint("be unlimited, or at least ", size)},
		{"NoAck", !is.NoAck, is.NoAck, "be false"},
		{"Sealed", !is.Sealed, is.Sealed, "be false"},
	} {
		if !setting.fits {
			return mismatch(fmt.Sprintf("%s has %s %+v: it must %s", is.Name, setting.name, setting.is, setting.must))
		}
	}
	return nil
}

// reach creates the stream if it does not exist, and returns nil if a Group can work with
// it.
func (e *engine) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	if err := e.measure(ctx); err != nil {
		return err
	}
	newest := e.newest.Load()
	for lost := error(nil); ; {
		ack, err := e.js.PublishMsg(ctx, record{kind: kindGone}.message(e.subject("trial")),
			jetstream.WithMsgTTL(e.config.ResultLife), jetstream.WithRetryAttempts(0))
		switch {
		case full(err):
			return nil // calls can still wait for flights
		case err != nil:
			return cmp.Or(lost, err)
		case ack.Sequence > newest:
			e.saw(ack.Sequence)
			return nil
		case newest-ack.Sequence > 1e6: // what two minutes may bring
			return mismatch(fmt.Sprintf("%s had the sequence %d, and has far less: it must not go back; restart this process, "+
				"and let stores forget the tokens that they have seen", e.config.Stream, newest))
		}
		lost = behind(newest) // and goes on until no token can come again
	}
}

// measure asks for the stream, creates it if it does not exist, and notes how full it is.
func (e *engine) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	e.measured.Store(time.Now().UnixNano())
	var stream jetstream.Stream
	err := insist(ctx, func(ctx context.Context) (err error) {
		stream, err = e.js.Stream(ctx, e.config.Stream)
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = e.js.CreateStream(ctx, e.wanted())
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster
		stream, err = e.js.Stream(ctx, e.config.Stream)
	}
	if coded(err, errCodeMaxBytesRequired) {
		return mismatch(fmt.Sprintf("%s cannot be created: set Config.MaxBytes, which the account requires", e.config.Stream))
	}
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	e.limit.Store(max(info.Config.MaxBytes, 0))
	e.used.Store(int64(info.State.Bytes))
	return e.unfit(info.Config)
}

// room returns an error if the stream has no room for a new flight. A quarter of it is
// kept for those that are in progress: a full stream also refuses renewals and landings,
// although they replace another record. On three nodes it refuses all, and on one those that
// are larger. What this process publishes is added to what it was told last; what others
// publish meanwhile must fit into the quarter, too.
func (e *engine) room(ctx context.Context) error {
	if e.scarce() {
		if err := e.remeasure(ctx); err != nil {
			return err
		}
	} else if last := e.measured.Load(); time.Since(time.Unix(0, last)) > e.every() && e.measured.CompareAndSwap(last, time.Now().UnixNano()) {
		e.tasks.Go(func() { _ = e.remeasure(context.Background()) }) // if it fails, the next call asks again
	}
	if !e.scarce() {
		return nil
	}
	return fmt.Errorf("%w: it has %d of %d bytes, and keeps a quarter for flights in progress", errFull, e.used.Load(), e.limit.Load())
}

// every returns how often the stream is measured while it has room.
func (e *engine) every() time.Duration {
	if e.limit.Load() == 0 {
		return time.Minute // an operator may set one
	}
	return beat
}

// remeasure measures the stream, once for all calls that ask at the same time. If an operator
// has made it unfit, a probe says so.
func (e *engine) remeasure(ctx context.Context) error {
	_, err, _ := e.measures.DoContext(ctx, struct{}{}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, e.measure(ctx)
	})
	if errors.As(err, new(mismatch)) {
		e.trip()
	}
	return err
}

// scarce reports whether the last quarter of the stream is being used.
func (e *engine) scarce() bool {
	limit := e.limit.Load()
	return limit > 0 && e.used.Load() > limit-limit/4
}

// errFull is why a flight cannot begin although the engine works.
var errFull = errors.New("the stream is full")

// The codes of JetStream's errors that nats.go does not name.
const (
	errCodeAccountResources    jetstream.ErrorCode = 10002
	errCodeClusterNotAvailable jetstream.ErrorCode = 10008
	errCodeServerResources     jetstream.ErrorCode = 10023
	errCodeStoreFailed         jetstream.ErrorCode = 10077
	errCodeMaxBytesRequired    jetstream.ErrorCode = 10113
)

// full reports whether err is an answer that the stream, its account or its server has no
// room for a record.
func full(err error) bool {
	return coded(err, errCodeStoreFailed, errCodeAccountResources, errCodeServerResources)
}

// coded reports whether err is an answer with one of the codes. The answer's HTTP-like
// code says less: 503 is of many kinds.
func coded(err error, codes ...jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode)
}
