package program

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// NewBar shows the progress of n steps if w is a terminal. Otherwise it only prints the
// description.
func NewBar(w io.Writer, n int, description string) *progressbar.ProgressBar {
	file, isFile := w.(*os.File)
	visible := isFile && term.IsTerminal(int(file.Fd()))
	if !visible {
		fmt.Fprintln(w, description)
	}
	return progressbar.NewOptions(n,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(fmt.Sprintf("%-28s", description)),
		progressbar.OptionSetWidth(40),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }),
	)
}

// During calls f, and shows how much of d, the time that f should take, has passed.
func During(w io.Writer, d time.Duration, description string, f func()) {
	const tick = 100 * time.Millisecond
	bar := NewBar(w, int(d/tick)+1, description)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		select {
		case <-ticker.C:
			// It is complete only when f is.
			if bar.State().CurrentNum < bar.GetMax64()-1 {
				bar.Add(1)
			}
		case <-done:
			bar.Finish()
			return
		}
	}
}
