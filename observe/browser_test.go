package observe

import (
	"context"
	"flag"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "take new pictures for testdata")

// browser returns a context for chromedp, or skips the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, _ = exec.LookPath(name); path != "" {
			break
		}
	}
	if path == "" {
		t.Skip("there is no Chromium: apt-get install chromium")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // a step that hangs fails, with its line
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox)...)
	t.Cleanup(cancel)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() { assert.NoError(t, chromedp.Cancel(ctx)) })
	require.NoError(t, chromedp.Do(ctx)) // starts it
	return ctx
}

// picture takes a picture of the page, and writes it to testdata with -update.
func picture(t *testing.T, ctx context.Context, name, scheme string, width int64) {
	t.Helper()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(t, err)
	require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 500)))
	wide, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > innerWidth`))
	require.NoError(t, err)
	assert.False(t, wide, "%s is too wide for its window", name)
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	require.NoError(t, err)
	assert.Greater(t, len(png), 5_000, "the picture of %s is empty", name)
	if *update {
		require.NoError(t, os.WriteFile("testdata/"+name+".png", png, 0o644))
	}
}

// An operator sees a stuck key appear, with its age and callers, and sees it go.
func TestBrowser(t *testing.T) {
	ctx := browser(t)
	users := &GroupOf[string, int]{Name: "users", Whose: func(ctx context.Context) string {
		s, _ := ctx.Value(valueKey{}).(string)
		return s
	}}
	tiles := &ShardedOf[string, int]{Name: "tiles"}
	server := httptest.NewServer(Handler(users, tiles))
	defer server.Close()

	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		require.NoError(t, chromedp.Do(ctx, steps...))
	}
	// read fails if there is no such element. chromedp.Text would wait for one.
	read := func(selector string) string {
		t.Helper()
		s, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.querySelector(`"+selector+"`).innerText"))
		require.NoError(t, err)
		return strings.Join(strings.Fields(s), " ")
	}
	// appears waits until the browser, by itself, has loaded a page with the selector.
	appears := func(selector string) {
		t.Helper()
		require.Eventually(t, func() bool {
			found, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.querySelector("`+selector+`") != null`))
			return err == nil && found // it fails while the page loads
		}, time.Minute, 50*time.Millisecond)
	}
	do(chromedp.Navigate(server.URL + "/?refresh=1"))
	assert.Equal(t, "Nothing is in flight", read("h1"))

	gate := make(chan struct{})
	fn := func(context.Context) (int, error) { <-gate; return 1, nil }
	request := context.WithValue(context.Background(), valueKey{}, "request 8f3a, ada@example.com")
	for range 1001 {
		users.DoChanContext(request, "user:4711", fn)
	}
	leaves, leave := context.WithCancel(request)
	began := make(chan struct{}) // a flight that all leave before its function begins is no more
	left := users.DoChanContext(leaves, "user:1815", func(ctx context.Context) (int, error) {
		close(began)
		return fn(ctx)
	})
	<-began
	leave()
	<-left
	users.DoChan("user:1815", func() (int, error) { return 1, nil })
	for range 240 {
		tiles.DoChan("12/2176/1423", func() (int, error) { return fn(request) })
	}
	tiles.Forget("12/2176/1423")
	tiles.DoChan("12/2176/1423", func() (int, error) { return fn(request) })

	for _, f := range users.group.InFlight() { // as if time had passed
		if f.Key == "user:4711" {
			recordOf(f.Context).begun.Add(-int64(34 * time.Second))
		} else if f.Context != nil {
			recordOf(f.Context).begun.Add(-int64(4 * time.Second))
		}
	}

	// The page refreshes, without a script, until it shows what is stuck.
	appears("tr.old")
	do(chromedp.Navigate(server.URL))
	scripts, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.scripts.length`))
	require.NoError(t, err)
	assert.Zero(t, scripts)
	const busiest = `tr:has(i[style="width: 100%"]) `
	assert.Equal(t, "4 flights, 1,243 callers wait", read("h1"))
	assert.Equal(t, "user:4711", read(busiest+".key"))
	assert.Equal(t, "1,001 callers", read(busiest+".callers"))
	assert.Regexp(t, `^3\d seconds since \d\d:\d\d:\d\d$`, read(busiest+".age"))
	assert.Contains(t, read("tr.abandoned"), "all callers have left")
	assert.Contains(t, read("tr.forgotten"), "its key was freed")
	picture(t, ctx, "page", "light", 1100)
	picture(t, ctx, "dark", "dark", 1100)
	picture(t, ctx, "phone", "light", 390)

	do(chromedp.Navigate(server.URL + "/?refresh=1"))
	close(gate)
	require.NoError(t, users.Wait(t.Context()))
	require.NoError(t, tiles.Wait(t.Context()))
	appears(".none")
	do(chromedp.Navigate(server.URL))
	assert.Equal(t, "Nothing is in flight", read("h1"))
	assert.Contains(t, read("body"), "Called most")
}
