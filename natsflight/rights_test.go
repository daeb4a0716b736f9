package natsflight

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rights that README.md lists suffice, for flights, Forget, and the hand-over
// without the stream.
func TestLeastRights(t *testing.T) {
	const stream = "flights"
	// The operator creates the stream; it needs no more rights than a member that may.
	member := &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			stream + ".k.*", stream + ".r.*", stream + ".p.*",
			"$JS.API.STREAM.INFO." + stream, "$JS.API.STREAM.MSG.GET." + stream,
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{stream + ".r.*", stream + ".p.*", "_INBOX.>"}},
		Response:  &server.ResponsePermission{MaxMsgs: server.DEFAULT_ALLOW_RESPONSE_MAX_MSGS},
	}
	creator := &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: append([]string{"$JS.API.STREAM.CREATE." + stream}, member.Publish.Allow...)},
		Subscribe: member.Subscribe,
		Response:  member.Response,
	}
	mute := &server.Permissions{Publish: creator.Publish, Subscribe: creator.Subscribe} // may not answer
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		Users: []*server.User{
			{Username: "creator", Password: "x", Permissions: creator},
			{Username: "member", Password: "x", Permissions: member},
			{Username: "mute", Password: "x", Permissions: mute},
		},
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })

	join := func(user string) (*nats.Conn, jetstream.JetStream, <-chan error) {
		denied := make(chan error, 100)
		nc, err := nats.Connect(strings.Replace(s.ClientURL(), "://", "://"+user+":x@", 1),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		return nc, js, denied
	}
	_, js, denied := join("member")
	_, err = open(js, Config{Stream: stream})
	assert.ErrorIs(t, err, ErrUnavailable, "a member must not create the stream")
	assert.ErrorContains(t, receive(t, denied), "$JS.API.STREAM.CREATE."+stream)

	_, js, deniedA := join("creator")
	a := newGroup(t, js, Config{Stream: stream})
	nc, js, deniedB := join("member")
	f := fleet{a: a, b: newGroup(t, js, Config{Stream: stream}), nc: nc}

	assert.True(t, share(t, f.a, f.b, nc, "key"))
	old, anew := newGate(t, "old"), newGate(t, "new")
	first := do(t.Context(), f.a, "key", old.fn)
	receive(t, old.led)
	second := f.join(t, "key", old.fn)
	require.NoError(t, f.b.Forget(t.Context(), "key"))
	third := do(t.Context(), f.a, "key", anew.fn)
	receive(t, anew.led)
	old.open() // the stream has no record of it
	assert.Equal(t, old.value(1), receive(t, first).v)
	assert.Equal(t, old.value(1), receive(t, second).v)
	anew.open()
	receive(t, third)
	assert.Empty(t, deniedA)
	assert.Empty(t, deniedB)

	_, js, _ = join("mute")
	_, err = open(js, Config{Stream: stream})
	assert.ErrorIs(t, err, ErrUnavailable)
	assert.ErrorContains(t, err, "the inbox of this process")
}
