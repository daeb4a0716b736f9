package natsflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/actorflight/singleflight"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// attempt limits what is asked of the engine, with all repetitions. The outcome is
	// unknown after that: the answer is lost if the node that should give it dies.
	attempt = time.Second
	// beat is the longest time between two questions to a leader's process, and how
	// soon a question to the engine that has got no answer is repeated.
	beat = 150 * time.Millisecond
)

// An engine is this process's access to the engine that the fleet shares: to its stream,
// which holds the last record of each key, and to the other processes.
type engine struct {
	config Config
	js     jetstream.JetStream
	tasks  *sync.WaitGroup // the Group's
	trip   func()          // the Group's
	newest atomic.Uint64   // the largest sequence that this process has seen

	limit    atomic.Int64 // the stream's MaxBytes, 0 if it has none
	used     atomic.Int64 // how many bytes the stream has, at most, as far as this process knows
	measured atomic.Int64 // when the stream was asked for both, in nanoseconds of Unix time
	measures singleflight.GroupOf[struct{}, struct{}]
}

// errRefused is why publish fails if the last record of the key is not the expected one.
var errRefused = errors.New("natsflight: the key has another record")

// subject returns the subject of a key's records.
func (e *engine) subject(hash string) string { return e.config.Stream + ".k." + hash }

// results returns the subject on which the stream republishes a key's records.
func (e *engine) results(hash string) string { return e.config.Stream + ".r." + hash }

// insist calls try for an attempt, until it succeeds or fails for good, with more patience
// each time. An answer may be lost while the connection is made anew, and a node whose disk
// is full may answer before the one that knows.
func insist(ctx context.Context, try func(context.Context) error) error {
	end := time.Now().Add(attempt)
	var failure error // the last one that says more than that there was no answer
	for patience := beat; ; patience *= 2 {
		limited, cancel := context.WithTimeout(ctx, min(patience, time.Until(end)))
		err := try(limited)
		cancel()
		if err == nil || !passing(err) {
			return err
		}
		if failure == nil || !errors.Is(err, context.DeadlineExceeded) {
			failure = err
		}
		if pause(ctx, beat/10); ctx.Err() != nil || !time.Now().Before(end) {
			return failure
		}
	}
}

// passing reports whether a question that has failed with err may soon get another answer.
func passing(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrReconnectBufExceeded) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		coded(err, errCodeClusterNotAvailable, jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount)
}

// saw notes the sequence of a record.
func (e *engine) saw(seq uint64) {
	for newest := e.newest.Load(); newest < seq && !e.newest.CompareAndSwap(newest, seq); {
		newest = e.newest.Load()
	}
}

// A behind is why a flight cannot have its token: the stream has lost its last records, and
// its sequence is less than this one, which it was.
type behind uint64

func (b behind) Error() string {
	return fmt.Sprintf("the stream has lost records: its sequence was %d, and is less", uint64(b))
}

// A notStored is why the engine has certainly not stored a record.
type notStored struct{ error }

func (e notStored) Unwrap() error { return e.error }

// begin publishes r, the first record of a flight, in place of the record with the sequence
// expected, and returns the flight's token, or errRefused and the record that the key has
// instead. It insists: r's id tells whether an attempt whose answer was lost has stored it.
func (e *engine) begin(ctx context.Context, hash string, r record, expected uint64) (token uint64, other record, err error) {
	newest := e.newest.Load()
	if err := e.room(ctx); err != nil {
		if last, failed := e.last(ctx, hash); failed == nil && last.kind == kindDo && last.seq != expected {
			return 0, last, errRefused // it may be joined
		}
		return 0, record{}, notStored{err}
	}
	err = insist(ctx, func(ctx context.Context) (err error) {
		token, other, err = e.publish(ctx, hash, r, expected, e.config.Lease)
		return err
	})
	switch {
	case full(err):
		_ = e.measure(ctx) // so that later calls know
		return 0, record{}, notStored{fmt.Errorf("%w: %w", errFull, err)}
	case errors.Is(err, errRefused) && other.id == r.id:
		token = other.seq
	case err != nil:
		return 0, other, err
	}
	if token <= newest {
		return 0, record{}, behind(newest)
	}
	return token, record{}, nil
}

// publish makes r the last record of the key for the time of life, if the sequence of the
// one before is expected, or 0 if there is none. It returns the sequence of r, or
// errRefused and the record that the key has instead. ctx limits it.
func (e *engine) publish(ctx context.Context, hash string, r record, expected uint64, life time.Duration) (uint64, record, error) {
	for {
		ack, err := e.js.PublishMsg(ctx, r.message(e.subject(hash)),
			jetstream.WithExpectLastSequencePerSubject(expected), jetstream.WithMsgTTL(life), jetstream.WithRetryAttempts(0))
		switch {
		case err == nil:
			e.saw(ack.Sequence)
			e.used.Add(int64(len(r.data) + usual))
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
	return coded(err, jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// last returns the last record of a key, or the zero record. It asks the stream's leader.
func (e *engine) last(ctx context.Context, hash string) (record, error) {
	question, err := json.Marshal(map[string]string{"last_by_subj": e.subject(hash)})
	if err != nil {
		return record{}, err
	}
	var answer struct {
		Error   *jetstream.APIError
		Message struct {
			Seq        uint64
			Hdrs, Data []byte
		}
	}
	err = insist(ctx, func(ctx context.Context) error {
		// nats.go would ask any node of the stream, if that has AllowDirect.
		m, err := e.js.Conn().RequestWithContext(ctx, e.api("STREAM.MSG.GET."), question)
		if err != nil {
			return err
		}
		answer.Error = nil
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return err
		}
		if answer.Error != nil {
			return answer.Error
		}
		return nil
	})
	if coded(err, jetstream.JSErrCodeMessageNotFound) {
		return record{}, nil
	} else if err != nil {
		return record{}, err
	}
	var header nats.Header
	if m := answer.Message; len(m.Hdrs) > 0 {
		if header, err = nats.DecodeHeadersMsg(m.Hdrs); err != nil {
			return record{}, err
		}
	}
	e.saw(answer.Message.Seq)
	return recordOf(header, answer.Message.Data, answer.Message.Seq), nil
}

// api returns the subject of a method of JetStream's API, for the stream.
func (e *engine) api(method string) string {
	prefix := jetstream.DefaultAPIPrefix
	switch o := e.js.Options(); {
	case o.Domain != "":
		prefix = "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		prefix = strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	return prefix + method + e.config.Stream
}

// maxResult is the largest result that can be published. An operator may have lowered what
// the server accepts.
func (e *engine) maxResult() int {
	return max(0, min(e.config.MaxResult, int(e.js.Conn().MaxPayload())-headroom))
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

// A question is what a process may be asked about flights that it leads.
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

// ask asks the leader of r's flight about that.
func (e *engine) ask(ctx context.Context, r record, q question) (answer, error) {
	states, err := e.askAll(ctx, r.leader, q, []string{r.id})
	return states[0], err
}

// askAll asks the process whose inbox is leader about the flights with these IDs, of which it
// returns an answer for each. It asks again, with more patience, if no answer comes: a process
// that has just died may have got the first question. It takes the process for dead if the
// engine says so twice in a row: it may be connecting anew.
func (e *engine) askAll(ctx context.Context, leader string, q question, ids []string) ([]answer, error) {
	var err error
	gone := false
	for limit := beat; limit < attempt || gone; limit *= 2 {
		var m *nats.Msg
		limited, cancel := context.WithTimeout(ctx, limit)
		m, err = e.js.Conn().RequestWithContext(limited, leader, []byte(string(q)+" "+strings.Join(ids, ",")))
		cancel()
		switch {
		case err == nil:
			if states, ok := answersOf(m, len(ids)); ok {
				return states, nil
			}
			err, gone = fmt.Errorf("%q is no answer to %d questions", m.Data[:min(len(m.Data), 100)], len(ids)), false
		case !errors.Is(err, nats.ErrNoResponders):
			gone = false
		case gone:
			return slices.Repeat([]answer{dead}, len(ids)), nil
		default:
			gone = true
			pause(ctx, beat)
		}
	}
	return slices.Repeat([]answer{noAnswer}, len(ids)), err
}

// answersOf returns the answers that m carries. It reports whether m is what a process
// sends, and not the stream of an operator that covers the subject of the question.
func answersOf(m *nats.Msg, n int) (answers []answer, ok bool) {
	for state := range strings.SplitSeq(string(m.Data), ",") {
		answers = append(answers, answer(state))
	}
	return answers, len(answers) == n && !slices.ContainsFunc(answers, func(a answer) bool {
		return a != flying && a != tooLate && a != forgotten && a != unknown
	})
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
