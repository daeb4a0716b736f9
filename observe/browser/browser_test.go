package browser

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A tab is a tab of Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context // chromedp's
}

// open opens a tab, or skips the test.
func open(t *testing.T) tab {
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
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // a step that hangs fails, with its line
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox)...)
	t.Cleanup(cancel)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() { assert.NoError(t, chromedp.Cancel(ctx)) })
	require.NoError(t, chromedp.Do(ctx)) // starts it
	return tab{t, ctx}
}

func (b tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, steps...))
}

// eval returns the value of an expression.
func eval[T any](b tab, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	require.NoError(b.t, err)
	return v
}

// read returns the text of an element, and fails if there is none. (chromedp.Text would
// wait for one.)
func (b tab) read(selector string) string {
	b.t.Helper()
	return strings.Join(strings.Fields(eval[string](b, "document.querySelector(`"+selector+"`).innerText")), " ")
}

// appears waits until the browser, by itself, has loaded a page with such an element.
func (b tab) appears(selector string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		found, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("document.querySelector(`"+selector+"`) != null"))
		return err == nil && found // it fails while the page loads
	}, time.Minute, 50*time.Millisecond)
}

// resize sets the size of the window, and the colour scheme that the user prefers.
func (b tab) resize(width, height int64, scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(b.t, err)
	b.do(chromedp.EmulateViewport(width, height))
}

// top returns a picture of what is in the window.
func (b tab) top() []byte { return b.take(chromedp.CaptureScreenshot()) }

// picture returns a picture of all of the page.
func (b tab) picture() []byte { return b.take(chromedp.FullScreenshot(100)) }

func (b tab) take(screenshot chromedp.Action[[]byte]) []byte {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, screenshot)
	require.NoError(b.t, err)
	return png
}
