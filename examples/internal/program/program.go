// Package program has what the example programs share: exit statuses, signals,
// progress and lists.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit statuses.
const (
	Succeeded   = 0
	Failed      = 1
	BadUsage    = 2
	Interrupted = 130 // 128 + SIGINT
	Terminated  = 143 // 128 + SIGTERM
)

// errTerminated is the cause of a context that SIGTERM has ended.
var errTerminated = errors.New("terminated")

// Interruptible returns a context that os.Interrupt or SIGTERM ends. The next such
// signal ends the program.
func Interruptible() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1) // Notify does not block
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		var cause error
		if <-signals == syscall.SIGTERM {
			cause = errTerminated
		}
		signal.Stop(signals)
		cancel(cause)
	}()
	return ctx
}

// Status returns the exit status of the named program, which has run with ctx and ended
// with err. It says on stderr what went wrong, if anything did.
func Status(ctx context.Context, name string, err error, stderr io.Writer) int {
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(stderr, "%s: interrupted\n", name)
		if errors.Is(context.Cause(ctx), errTerminated) {
			return Terminated
		}
		return Interrupted
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return Failed
	}
	return Succeeded
}

// List returns items as they are listed in a sentence.
func List(items []string) string {
	last := len(items) - 1
	if last == 0 {
		return items[0]
	}
	return strings.Join(items[:last], ", ") + " and " + items[last]
}
