package conformance

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	xsync "golang.org/x/sync/singleflight"
	resenje "resenje.org/singleflight"
	tailscale "tailscale.com/util/singleflight"

	"github.com/actorflight/singleflight"
)

// An answer is the result of a call.
type answer struct {
	val    int
	err    error
	shared bool
}

// A caller makes calls with one key, in one group.
type caller func(ctx context.Context, fn func(context.Context) (int, error)) <-chan answer

func answered(call func() answer) <-chan answer {
	answers := make(chan answer, 1)
	go func() { answers <- call() }()
	return answers
}

// The table in the README's "When a caller leaves".
func TestWhenACallerLeaves(t *testing.T) {
	for _, peer := range []struct {
		name       string
		newCaller  func() caller
		lastWaits  bool   // the last caller to leave returns when fn does, others at once
		hasContext bool   // fn gets one, which ends when all have left
		next       string // what the next call does, before fn has returned
		values     bool   // the first caller's reach fn
		outlives   bool   // fn's context does not end with the landing
		shared     bool   // although one of two callers has left
	}{
		{
			name: "x/sync",
			newCaller: func() caller {
				var g xsync.Group
				return func(ctx context.Context, fn func(context.Context) (int, error)) <-chan answer {
					results := g.DoChan("key", func() (any, error) { return fn(context.Background()) })
					return answered(func() answer {
						select {
						case r := <-results:
							return answer{r.Val.(int), r.Err, r.Shared}
						case <-ctx.Done():
							return answer{err: ctx.Err()}
						}
					})
				}
			},
			next:   "joins",
			shared: true,
		},
		{
			name: "tailscale",
			newCaller: func() caller {
				var g tailscale.Group[string, int]
				return func(ctx context.Context, fn func(context.Context) (int, error)) <-chan answer {
					results := g.DoChanContext(ctx, "key", fn)
					return answered(func() answer { r := <-results; return answer{r.Val, r.Err, r.Shared} })
				}
			},
			lastWaits:  true,
			hasContext: true,
			next:       "joins",
			shared:     true,
		},
		{
			name: "resenje",
			newCaller: func() caller {
				var g resenje.Group[string, int]
				return func(ctx context.Context, fn func(context.Context) (int, error)) <-chan answer {
					return answered(func() answer {
						v, shared, err := g.Do(ctx, "key", fn)
						return answer{v, err, shared}
					})
				}
			},
			hasContext: true,
			next:       "runs beside",
			values:     true,
			shared:     true,
		},
		{
			name: "here",
			newCaller: func() caller {
				var g singleflight.GroupOf[string, int]
				return func(ctx context.Context, fn func(context.Context) (int, error)) <-chan answer {
					return answered(func() answer {
						v, err, shared := g.DoContext(ctx, "key", fn)
						return answer{v, err, shared}
					})
				}
			},
			hasContext: true,
			next:       "waits",
			values:     true,
			outlives:   true,
		},
	} {
		t.Run(peer.name, func(t *testing.T) {
			bubble := func(name string, f func(*testing.T, caller)) {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { f(t, peer.newCaller()) })
				})
			}
			bubble("one of two leaves", func(t *testing.T, call caller) {
				ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "first"))
				gate := make(chan struct{})
				var fnCtx context.Context
				leaves := call(ctx, func(ctx context.Context) (int, error) {
					fnCtx = ctx
					<-gate
					return 1, ctx.Err()
				})
				synctest.Wait()
				stays := call(t.Context(), func(context.Context) (int, error) { return 2, nil })
				synctest.Wait()
				cancel()
				assert.Equal(t, context.Canceled, (<-leaves).err)
				assert.Equal(t, peer.values, fnCtx.Value(key{}) == "first")
				close(gate)
				assert.Equal(t, answer{1, nil, peer.shared}, <-stays)
				synctest.Wait()
				if peer.hasContext {
					assert.Equal(t, peer.outlives, fnCtx.Err() == nil)
				}
			})
			bubble("all leave, and another comes", func(t *testing.T, call caller) {
				ctx, cancel := context.WithCancel(t.Context())
				gate := make(chan struct{})
				var fnCtx context.Context
				left := call(ctx, func(ctx context.Context) (int, error) {
					fnCtx = ctx
					<-gate
					return 1, ctx.Err()
				})
				synctest.Wait()
				cancel()
				synctest.Wait()
				assert.Equal(t, peer.lastWaits, len(left) == 0)
				assert.Equal(t, peer.hasContext, fnCtx.Err() != nil)
				begun := false
				next := call(t.Context(), func(context.Context) (int, error) { begun = true; return 2, nil })
				synctest.Wait()
				assert.Equal(t, peer.next == "runs beside", begun)
				close(gate)
				got := <-next
				assert.Equal(t, peer.next == "joins", got.val == 1)
				assert.Equal(t, peer.next == "joins" && peer.hasContext, got.err != nil)
			})
		})
	}
}

type key struct{}

// With tailscale's, a call with a context crashes the program if it joins a Do's flight.
func TestTailscaleCrashesWhenAContextCallJoinsADo(t *testing.T) {
	const variable = "SINGLEFLIGHT_CONFORMANCE_CRASH"
	if os.Getenv(variable) != "" {
		var g tailscale.Group[string, int]
		gate, leads := make(chan struct{}), make(chan struct{})
		go g.Do("key", func() (int, error) { close(leads); <-gate; return 1, nil })
		<-leads
		results := g.DoChanContext(t.Context(), "key", nil)
		close(gate)
		<-results
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"=1")
	output, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(output), "util/singleflight.(*Group[...]).waitCtx")
}
