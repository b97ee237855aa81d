package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"example.org/shop/store"
)

// patience is for a service to come up, or to end.
const patience = 10 * time.Second

// start starts the service in the background, and returns when it listens and has
// its data, or with its last words. A node needs no supervisor for it, and no root; where
// there is systemd, a unit and the op systemd are the better way.
//
// A service that runs already is stopped first: start may be repeated, and what
// runs in the end is this release.
func start(confName string) error {
	if err := stop(confName); err != nil {
		return err
	}
	c, err := readConf(confName)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// The service keeps nothing of the step that starts it: not its session, which
	// ends with the step, and not its output, which the step waits for.
	log, err := os.OpenFile(filepath.Join(c.Data, "log"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "serve", confName)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		select {
		case err := <-ended:
			words, _ := io.ReadAll(io.NewSectionReader(log, before, 1<<16))
			return fmt.Errorf("the service ended: %w\n%s", err, words)
		case <-time.After(20 * time.Millisecond):
		}
		if pid, err := store.Service(c.Data); err == nil && pid == cmd.Process.Pid {
			fmt.Println("release", release, "runs, process", pid)
			return nil
		}
	}
	return errors.Join(errors.New("the service does not come up"), cmd.Process.Kill())
}

// stop ends the service, if it runs, and returns when it is no more.
func stop(confName string) error {
	c, err := readConf(confName)
	if err != nil {
		return err
	}
	pid, err := store.Service(c.Data)
	if err != nil || pid == 0 {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if now, err := store.Service(c.Data); err == nil && now != pid {
			fmt.Println("stopped, process", pid)
			return nil
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}
