package natsflight

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// A kind says what a record of the stream means.
type kind string

const (
	kindDo    kind = "do"    // the flight is in progress; renewals are published anew
	kindValue kind = "value" // it has landed with the payload as its result
	kindError kind = "error" // it has landed with an error, a panic or a Goexit
	kindLarge kind = "large" // its result had more bytes than the limit; the payload is both
	kindGone  kind = "gone"  // it has ended without a result, or has not begun

	// No call joins the flight whose ID is the payload. The record has an ID of its own:
	// another process than the leader's may have published it.
	kindForgotten kind = "forgotten"
)

// A record is what the stream has of a key: its latest flight. The zero record means
// that it has none.
type record struct {
	kind    kind
	id      string // the flight's, which no other has
	leader  string // the inbox of the process that leads it
	process string // the name of that process
	data    []byte
	seq     uint64 // the record's sequence in the stream
}

const (
	headerKind    = "Natsflight-Kind"
	headerFlight  = "Natsflight-Flight"
	headerLeader  = "Natsflight-Leader"
	headerProcess = "Natsflight-Process"
)

// message returns r as a message to subject.
func (r record) message(subject string) *nats.Msg {
	return &nats.Msg{Subject: subject, Data: r.data, Header: nats.Header{
		headerKind:    {string(r.kind)},
		headerFlight:  {r.id},
		headerLeader:  {r.leader},
		headerProcess: {r.process},
	}}
}

// recordOf returns the record that a message carries.
func recordOf(h nats.Header, data []byte, seq uint64) record {
	return record{kind(h.Get(headerKind)), h.Get(headerFlight), h.Get(headerLeader), h.Get(headerProcess), data, seq}
}

// republished returns the record that a message of the republished subject carries.
func republished(m *nats.Msg) record {
	seq, _ := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64) // absent if the leader has sent it itself
	return recordOf(m.Header, m.Data, seq)
}

// An outcome is what a call returns, apart from its error.
type outcome struct {
	value  []byte
	shared bool
}

// lands reports whether r is what the flight has ended with, and has something for its
// waiters.
func (r record) lands(id string) bool {
	return r.id == id && (r.kind == kindValue || r.kind == kindError || r.kind == kindLarge)
}

// forgotten returns the record that frees the key from the flight of r.
func (r record) forgotten() record {
	return record{kind: kindForgotten, id: nuid.Next(), data: []byte(r.id)}
}

// forgets reports whether r frees its key from the flight with this ID.
func (r record) forgets(id string) bool {
	return r.kind == kindForgotten && string(r.data) == id
}

// outcome returns what waiters get from the record of a flight that has landed.
func (r record) outcome() (outcome, error) {
	out := outcome{shared: true}
	switch r.kind {
	case kindValue:
		out.value = r.data
		return out, nil
	case kindLarge:
		var e TooLargeError
		_, _ = fmt.Sscan(string(r.data), &e.Size, &e.Limit)
		return out, &e
	default:
		return out, &RemoteError{Process: r.process, Text: string(r.data)}
	}
}

// hashOf returns what stands for key in subjects: a key may have any bytes.
func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
