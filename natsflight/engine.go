package natsflight

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// attempt limits each question to the engine. Its outcome is unknown after that: the
	// answer is lost if the node that should give it dies.
	attempt = time.Second
	// beat is how often a waiter asks whether the leader's process is alive, and how
	// often an engine that is out of reach is tried again.
	beat = 150 * time.Millisecond
)

// An engine is this process's access to the engine that the fleet shares: to its stream,
// which holds the last record of each key, and to the other processes.
type engine struct {
	config Config
	js     jetstream.JetStream
	stream jetstream.Stream
	newest atomic.Uint64 // the largest sequence that this process has got
}

// errRefused is why publish fails if the last record of the key is not the expected one.
var errRefused = errors.New("natsflight: the key has another record")

// subject returns the subject of a key's records.
func (e *engine) subject(hash string) string { return e.config.Stream + ".k." + hash }

// results returns the subject on which the stream republishes a key's records.
func (e *engine) results(hash string) string { return e.config.Stream + ".r." + hash }

// publish makes r the last record of the key for the time of life, if the sequence of the
// one before is expected, or 0 if there is none. It returns the sequence of r, or
// errRefused and the record that the key has instead.
func (e *engine) publish(ctx context.Context, hash string, r record, expected uint64, life time.Duration) (uint64, record, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	for {
		ack, err := e.js.PublishMsg(ctx, r.message(e.subject(hash)),
			jetstream.WithExpectLastSequencePerSubject(expected), jetstream.WithMsgTTL(life), jetstream.WithRetryAttempts(0))
		switch {
		case err == nil:
			for newest := e.newest.Load(); newest < ack.Sequence && !e.newest.CompareAndSwap(newest, ack.Sequence); {
				newest = e.newest.Load()
			}
			return ack.Sequence, record{}, nil
		case !refused(err):
			return 0, record{}, err
		}
		last, err := e.last(ctx, hash)
		switch {
		case err != nil:
			return 0, record{}, err
		case last.seq != expected:
			return 0, last, errRefused
		}
		pause(ctx, beat/10) // another publish is under way; without a quorum, for long
	}
}

// refused reports whether err is an answer that the last record is not the expected one.
func refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// last returns the last record of a key, or the zero record. It asks the stream's leader.
func (e *engine) last(ctx context.Context, hash string) (record, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	m, err := e.stream.GetLastMsgForSubject(ctx, e.subject(hash))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return record{}, nil
	} else if err != nil {
		return record{}, err
	}
	return recordOf(m.Header, m.Data, m.Sequence), nil
}

// hand gives r to the waiters of a key, without the stream.
func (e *engine) hand(hash string, r record) error {
	return e.js.Conn().PublishMsg(r.message(e.results(hash)))
}

// steadySince reports whether the connection has been up all the time since it had
// reconnected so often.
func (e *engine) steadySince(reconnects uint64) bool {
	return e.js.Conn().IsConnected() && e.reconnects() == reconnects
}

func (e *engine) reconnects() uint64 { return e.js.Conn().Stats().Reconnects }

// connected waits until the connection is up.
func connected(ctx context.Context, conn *nats.Conn) error {
	for !conn.IsConnected() {
		if conn.IsClosed() {
			return nats.ErrConnectionClosed
		}
		if pause(ctx, beat/10); ctx.Err() != nil {
			return fmt.Errorf("%w: the connection is %v", context.Cause(ctx), conn.Status())
		}
	}
	return nil
}

// A mismatch is why open fails if the stream has another configuration.
type mismatch string

func (m mismatch) Error() string { return "natsflight: " + string(m) }

// open creates the stream if it does not exist, and tries whether it takes records. It
// does so again until it succeeds, fails for good, or ctx ends: a cluster that has just
// started, or elects a leader, may not answer.
func (e *engine) open(ctx context.Context) (jetstream.Stream, error) {
	for {
		limited, cancel := context.WithTimeout(ctx, attempt)
		stream, err := e.ensure(limited)
		if err == nil {
			_, err = e.js.PublishMsg(limited, record{kind: kindGone}.message(e.subject("trial")),
				jetstream.WithMsgTTL(e.config.ResultLife), jetstream.WithRetryAttempts(0))
		}
		cancel()
		switch {
		case err == nil:
			return stream, nil
		case errors.As(err, new(mismatch)):
			return nil, err
		}
		if pause(ctx, beat); ctx.Err() != nil {
			return nil, unavailable(fmt.Errorf("%w: stream %s: %w", context.Cause(ctx), e.config.Stream, err))
		}
		if e.js.Conn().IsClosed() {
			return nil, unavailable(err)
		}
	}
}

// ensure creates the stream if it does not exist, and checks its configuration.
func (e *engine) ensure(ctx context.Context) (jetstream.Stream, error) {
	want := jetstream.StreamConfig{
		Name:              e.config.Stream,
		Description:       "flights of github.com/actorflight/singleflight/natsflight",
		Subjects:          []string{e.subject("*")},
		Replicas:          e.config.Replicas,
		MaxMsgsPerSubject: 1,
		AllowMsgTTL:       true,
		RePublish:         &jetstream.RePublish{Source: e.subject("*"), Destination: e.results("{{wildcard(1)}}")},
		// If the stream was deleted, tokens go on from the clock, which is ahead of them,
		// because no stream gets a record each microsecond. If the clock was set back, they
		// go on from those that this process knows; others may have got some more.
		FirstSeq: max(uint64(time.Now().UnixMicro()), e.newest.Load()+1e6),
	}
	stream, err := e.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = e.js.CreateStream(ctx, want)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster
		stream, err = e.js.Stream(ctx, want.Name)
	}
	if err != nil {
		return nil, err
	}
	is := stream.CachedInfo().Config
	for _, differs := range []struct {
		field    string
		is, want any
	}{
		{"Replicas", is.Replicas, want.Replicas},
		{"Subjects", is.Subjects, want.Subjects},
		{"MaxMsgsPerSubject", is.MaxMsgsPerSubject, want.MaxMsgsPerSubject},
		{"AllowMsgTTL", is.AllowMsgTTL, want.AllowMsgTTL}, // older servers than 2.11 ignore it
		{"AllowDirect", is.AllowDirect, want.AllowDirect},
		{"RePublish", is.RePublish, want.RePublish},
	} {
		if !reflect.DeepEqual(differs.is, differs.want) {
			return nil, mismatch(fmt.Sprintf("stream %s exists with another %s", want.Name, differs.field))
		}
	}
	return stream, nil
}

// A question is what a process may be asked about a flight that it leads.
type question string

const (
	askState  question = "state"
	askForget question = "forget" // also stops calls from joining it
)

// An answer is the state of a flight.
type answer string

const (
	flying    answer = "flying"    // calls may join it
	tooLate   answer = "too late"  // to join it: it is landing, or abandoned
	forgotten answer = "forgotten" // it flies on, and no call joins it: the key is free
	unknown   answer = "unknown"   // its process does not lead it, or has landed it

	// Conclusions of the asker if there is no answer.
	dead     answer = "dead" // there is no such process
	noAnswer answer = "none" // nothing is known; ask returns the cause, too
)

// ask asks the leader of r's flight. It asks again, with more patience, if no answer
// comes: a process that has just died may have got the first question. It takes the
// process for dead if the engine says so twice in a row: it may be connecting anew.
func (e *engine) ask(ctx context.Context, r record, q question) (answer, error) {
	var err error
	gone := false
	for limit := beat; limit < attempt || gone; limit *= 2 {
		var m *nats.Msg
		limited, cancel := context.WithTimeout(ctx, limit)
		m, err = e.js.Conn().RequestWithContext(limited, r.leader, []byte(string(q)+" "+r.id))
		cancel()
		switch {
		case err == nil:
			return answer(m.Data), nil
		case !errors.Is(err, nats.ErrNoResponders):
			gone = false
		case gone:
			return dead, nil
		default:
			gone = true
			pause(ctx, beat)
		}
	}
	return noAnswer, err
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// unavailable returns ErrUnavailable, wrapped with its cause.
func unavailable(cause error) error {
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}
