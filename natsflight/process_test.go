package natsflight

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	roleVariable     = "NATSFLIGHT_TEST_ROLE"
	settingsVariable = "NATSFLIGHT_TEST_SETTINGS"
)

// roles are what a process of the test binary can be instead of the tests. Each gets
// its settings as JSON.
var roles = map[string]func(settings string){
	"server": serve,
	"caller": obey,
	"storm":  blow,
}

// A process runs the test binary in one of the roles. It ends when its standard input
// does, so that none is left when the tests crash.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // what it prints; closed at the end
	early []string    // lines that came before one that was awaited
}

func spawn(t *testing.T, role string, settings any) *process {
	t.Helper()
	data, err := json.Marshal(settings)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, settingsVariable+"="+string(data), "GORACE=halt_on_error=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{t: t, cmd: cmd, stdin: stdin, lines: make(chan string, 100)}
	go func() {
		defer close(p.lines)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the process with SIGKILL, even if it is stopped.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	for range p.lines {
	}
	_ = p.cmd.Wait()
}

// tell writes a command to the process, which need not read it now.
func (p *process) tell(format string, args ...any) {
	_, err := fmt.Fprintf(p.stdin, format+"\n", args...)
	require.NoError(p.t, err)
}

// await returns the first line that begins with the word and has not been awaited.
func (p *process) await(word string) string { p.t.Helper(); return p.awaitFor(timeout, word) }

func (p *process) awaitFor(limit time.Duration, word string) string {
	p.t.Helper()
	for i, line := range p.early {
		if strings.HasPrefix(line, word) {
			p.early = append(p.early[:i], p.early[i+1:]...)
			return line
		}
	}
	for deadline := time.After(limit); ; {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the process ended before it printed %q", word)
			}
			if strings.HasPrefix(line, word) {
				return line
			}
			p.early = append(p.early, line)
		case <-deadline:
			p.t.Fatalf("the process did not print %q, but %q", word, p.early)
		}
	}
}

// commands returns the lines of the standard input.
func commands() <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	return lines
}

// callerSettings is what the process of a caller is told.
type callerSettings struct {
	URLs   []string
	Config Config
}

// startCaller starts a process that has a Group on the test's stream and obeys commands.
func startCaller(t *testing.T, e *servers, c Config) *process {
	t.Helper()
	if c.Stream == "" {
		c.Stream = streamOf(t)
	}
	p := spawn(t, "caller", callerSettings{e.urls(), c})
	p.await("ready")
	return p
}

// obey is what the process of a caller does. Commands: "do KEY" calls Do, "land VALUE"
// lets one fn return, "sent" asks how many messages the connection has sent. It prints
// "led TOKEN" and "ctx CAUSE" for an fn, and "returned VALUE ERROR SHARED" for a call.
func obey(settings string) {
	var s callerSettings
	must(json.Unmarshal([]byte(settings), &s))
	nc, js, err := dial(s.URLs...)
	must(err)
	g, err := open(js, s.Config)
	must(err)
	fmt.Println("ready")
	land := make(chan string, 100)
	for line := range commands() {
		switch command, argument, _ := strings.Cut(line, " "); command {
		case "do":
			go func() {
				v, err, shared := g.Do(context.Background(), argument, func(ctx context.Context, token uint64) ([]byte, error) {
					context.AfterFunc(ctx, func() { fmt.Println("ctx", context.Cause(ctx)) })
					fmt.Println("led", token)
					return []byte(<-land), nil
				})
				fmt.Printf("returned %q %v %v\n", v, err, shared)
			}()
		case "land":
			land <- argument
		case "sent":
			fmt.Println("sent", nc.Stats().OutMsgs)
		default:
			must(fmt.Errorf("unknown command %q", line))
		}
	}
	os.Exit(0)
}
