package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// roleVariable is set in the environment of the processes that this program starts of
// itself. It has the name of a role and its arguments.
const roleVariable = "NATSFLIGHT_BENCH_ROLE"

// roles are what such a process can be. A role prints a line when it is ready, and ends
// with ctx.
var roles = map[string]func(ctx context.Context, args []string) error{
	"engine": serve,
	"leader": leadForever,
}

// playRole plays the role that the environment names, if there is one, until standard
// input ends. So none of these processes is left when the program dies, and a Ctrl-C in
// a terminal, which reaches them too, does not end them before it.
func playRole() (played bool) {
	role := strings.Fields(os.Getenv(roleVariable))
	if len(role) == 0 {
		return false
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := roles[role[0]](ctx, role[1:]); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", strings.Join(role, " "), err)
		os.Exit(1)
	}
	return true
}

// A process is this program in a role.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	line  string // what it printed when it was ready
}

// start starts a process and waits until it is ready.
func start(ctx context.Context, role ...string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(program)}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+strings.Join(role, " "))
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, p.kill)()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, errors.Join(ctx.Err(), fmt.Errorf("%s: the process has ended early", strings.Join(role, " ")))
	}
	p.line = strings.TrimSpace(line)
	return p, nil
}

// kill ends the process at once.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

// stop lets the process end, and waits for that.
func (p *process) stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

// leadForever is a role: it leads a flight until it is killed. The arguments are those
// of connect, and the key.
func leadForever(ctx context.Context, args []string) error {
	replicas, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	p, err := connect(args[0], args[1], replicas)
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = p.Do(ctx, args[3], func(ctx context.Context, _ uint64) ([]byte, error) {
		fmt.Println("leading")
		<-ctx.Done()
		return nil, ctx.Err()
	})
	return err
}
