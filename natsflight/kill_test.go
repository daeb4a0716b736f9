//go:build unix

package natsflight

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKilledLeaderIsReplaced(t *testing.T) {
	e := startServer(t)
	c := Config{Lease: 10 * timeout} // so that no lease runs out
	nc1, js1 := connect(t, e.urls()...)
	nc2, js2 := connect(t, e.urls()...)
	g1, g2 := newGroup(t, js1, c), newGroup(t, js2, c)

	slowest := time.Duration(0)
	for i := range 3 {
		key := fmt.Sprint("key", i)
		killed := startCaller(t, e, c)
		killed.tell("do %s", key)
		oldToken := killed.awaitToken()

		next1, next2 := newGate(t, "next1"), newGate(t, "next2")
		returned1 := awaitPings(t, nc1, func() <-chan result { return do(t.Context(), g1, key, next1.fn) })
		returned2 := awaitPings(t, nc2, func() <-chan result { return do(t.Context(), g2, key, next2.fn) })
		start := time.Now()
		killed.kill()
		var token uint64
		next, waiting := next1, nc2
		select {
		case token = <-next1.led:
		case token = <-next2.led:
			next, waiting = next2, nc1
		case <-time.After(timeout):
			t.Fatal("no waiter leads")
		}
		took := time.Since(start)
		t.Log("takeover:", took)
		slowest = max(slowest, took)
		assert.Greater(t, token, oldToken)

		awaitSent(t, waiting, waiting.Stats().OutMsgs+messagesOfWaiter)
		next.open()
		want := result{next.value(1), nil, true}
		assert.Equal(t, want, receive(t, returned1))
		assert.Equal(t, want, receive(t, returned2))
	}
	assert.Less(t, slowest, time.Second)
}

// What a leader lands that was stopped for longer than its lease is refused.
func TestStoppedLeaderIsReplaced(t *testing.T) {
	e := startServer(t)
	for _, test := range []struct {
		name string
		// rest is what happens when next leads while old is stopped. It returns what
		// old's call returns, or "" if that may be its own second result.
		rest func(t *testing.T, s *stopped) string
	}{
		{"while its successor runs", func(t *testing.T, s *stopped) string {
			s.old.signal(syscall.SIGCONT)
			assert.Equal(t, "ctx "+ErrLeaseLost.Error(), s.old.await("ctx"))
			s.old.tell("land old")
			s.old.awaitSent(s.old.sent() + messagesOfWaiter)
			s.next.open()
			return s.next.value(1)
		}},
		{"after its successor has landed", func(t *testing.T, s *stopped) string {
			s.next.open()
			awaitEmpty(t, s.e, streamOf(t))
			s.old.signal(syscall.SIGCONT)
			assert.Equal(t, "ctx "+ErrLeaseLost.Error(), s.old.await("ctx"))
			s.old.tell("land old")
			s.old.awaitToken()
			s.old.tell("land newest")
			return "newest"
		}},
		{"and lands as soon as it goes on", func(_ *testing.T, s *stopped) string {
			s.old.tell("land old")
			s.old.tell("land older")
			s.old.signal(syscall.SIGCONT)
			s.old.awaitSent(s.old.sent() + 1)
			s.next.open()
			return ""
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := Config{Lease: time.Second}
			nc, js := connect(t, e.urls()...)
			g := newGroup(t, js, c)
			s := &stopped{e, startCaller(t, e, c), newGate(t, "next")}

			s.old.tell("do key")
			oldToken := s.old.awaitToken()
			returned := awaitPings(t, nc, func() <-chan result { return do(t.Context(), g, "key", s.next.fn) })
			s.old.signal(syscall.SIGSTOP)
			assert.Greater(t, receive(t, s.next.led), oldToken)

			want := test.rest(t, s)
			got := receive(t, returned)
			assert.Equal(t, s.next.value(1), got.v)
			assert.NoError(t, got.err)
			line := s.old.await("returned")
			assert.NotContains(t, line, `returned "old" `)
			if want != "" {
				assert.Contains(t, line, fmt.Sprintf("returned %q <nil> ", want))
			}
			assert.Empty(t, s.next.ended, "the successor has its lease")
			assert.Equal(t, result{"afterwards", nil, false}, receive(t, do(t.Context(), g, "key", returning("afterwards"))))
		})
	}
}

type stopped struct {
	e    *servers
	old  *process
	next *gate
}

func (p *process) signal(s syscall.Signal) { require.NoError(p.t, p.cmd.Process.Signal(s)) }

// awaitToken returns the token of the next fn that runs in the process.
func (p *process) awaitToken() (token uint64) {
	p.t.Helper()
	_, err := fmt.Sscanf(p.await("led"), "led %d", &token)
	require.NoError(p.t, err)
	return token
}

// sent returns how many messages the process has sent.
func (p *process) sent() (n uint64) {
	p.t.Helper()
	p.tell("sent")
	_, err := fmt.Sscanf(p.await("sent"), "sent %d", &n)
	require.NoError(p.t, err)
	return n
}

func (p *process) awaitSent(n uint64) {
	p.t.Helper()
	eventually(p.t, "the process has sent more", func() bool { return p.sent() >= n })
}
