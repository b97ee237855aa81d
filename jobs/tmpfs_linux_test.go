package jobs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tmpfs mounts a small file system of its own below the test's directory.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0777"); err != nil {
		t.Skip("cannot mount a tmpfs: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestMoveToAnotherFileSystem(t *testing.T) {
	p := newPlace(t, Remote)
	shm := tmpfs(t, "1m")
	p.write("rel/bin/app", "text")
	p.link("bin/app", "rel/app")
	if err := os.Chmod(p.abs("rel/bin/app"), 0o750); err != nil {
		t.Fatal(err)
	}
	before := p.tree("rel")
	info, _ := os.Stat(p.abs("rel/bin/app"))
	p.want(OK, "", "move", "rel", filepath.Join(shm, "rel"))
	if got := p.tree(filepath.Join(shm, "rel")); !slices.Equal(got, before) {
		t.Errorf("got %q, want %q", got, before)
	}
	if after, _ := os.Stat(filepath.Join(shm, "rel/bin/app")); after.Mode() != info.Mode() || !after.ModTime().Equal(info.ModTime()) {
		t.Errorf("got %v %v, want %v %v", after.Mode(), after.ModTime(), info.Mode(), info.ModTime())
	}
	if p.read("rel") != "" {
		t.Error("the old one is still there")
	}
	if left, _ := os.ReadDir(shm); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

func TestFullDisk(t *testing.T) {
	p := newPlace(t, Remote)
	disk := tmpfs(t, "1m")
	big := p.write("big", strings.Repeat("x", 3<<20))
	p.write(filepath.Join(disk, "old"), "old")
	p.tar("big.tar", member{name: "big", body: strings.Repeat("x", 3<<20)})

	p.want(Errored, "no space left", "move", "big", filepath.Join(disk, "big"))
	p.want(Errored, "no space left", "move", "big", filepath.Join(disk, "old"), "replace")
	p.want(Errored, "no space left", "untar", "~/big.tar", "to="+disk)
	p.want(Errored, "no space left", "untar", "~/big.tar", "to="+filepath.Join(disk, "sub/dir"))
	p.want(Errored, "no space left", "template", big, filepath.Join(disk, "old"))
	if got := p.tree(disk); !slices.Equal(got, []string{"old old"}) {
		t.Errorf("got %q, want the old file alone", got)
	}
	if info, err := os.Stat(big); err != nil || info.Size() != 3<<20 {
		t.Errorf("what was to be moved: %v, %v", info, err)
	}
}

// One file system mounted twice: the device is the same, and yet a rename fails.
func TestMoveAcrossABindMount(t *testing.T) {
	p := newPlace(t, Remote)
	p.write("far/x", "old")
	if err := unix.Mount(p.abs("far"), p.abs("far"), "", unix.MS_BIND, ""); err != nil {
		t.Skip("cannot mount: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(p.abs("far"), unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	p.write("d/a", "new")
	p.want(OK, "", "move", "d", "far/d")
	p.write("x", "new")
	p.want(OK, "", "move", "x", "far/x", "replace")
	if got := p.tree("."); !slices.Equal(got, []string{"far /", "far/d /", "far/d/a new", "far/x new", "shop-bundle /"}) {
		t.Errorf("got %q", got)
	}
}
