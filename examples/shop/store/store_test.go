package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The same orders in each schema: what a release has written, the others read.
var written = map[int]string{
	1: `{"schema":1}` + "\n" + `{"id":1,"item":"tea","price":"3.50"}` + "\n" + `{"id":2,"item":"a cup","price":"12.05"}` + "\n",
	2: `{"schema":2}` + "\n" + `{"id":1,"item":"tea","cents":350}` + "\n" + `{"id":2,"item":"a cup","cents":1205}` + "\n",
}

func put(t *testing.T, schema int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(written[schema]), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMigrate(t *testing.T) {
	for _, tt := range []struct{ from, to, orders int }{{1, 2, 2}, {2, 1, 2}, {1, 1, 0}, {2, 2, 0}} {
		dir := put(t, tt.from)
		n, err := Migrate(dir, tt.to, nil)
		if err != nil || n != tt.orders {
			t.Errorf("%d to %d: got %d, %v, want %d", tt.from, tt.to, n, err, tt.orders)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != written[tt.to] {
			t.Errorf("%d to %d: got\n%swant\n%s", tt.from, tt.to, got, written[tt.to])
		}
	}
}

func TestMigrationThatIsCutShort(t *testing.T) {
	dir := put(t, 1)
	no := errors.New("no")
	_, err := Migrate(dir, 2, func(done int) error {
		if done == 1 {
			return no
		}
		return nil
	})
	if !errors.Is(err, no) {
		t.Errorf("got %v, want %v", err, no)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != written[1] {
		t.Errorf("the data are not as they were:\n%s", got)
	}
}

func TestInUse(t *testing.T) {
	dir := put(t, 1)
	s, err := Open(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Migrate(dir, 2, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want %v", err, ErrInUse)
	}
	if pid, err := Service(dir); pid != os.Getpid() || err != nil {
		t.Errorf("got %d, %v, want %d", pid, err, os.Getpid())
	}
	if _, err := s.Add("milk", 120); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if pid, err := Service(dir); pid != 0 || err != nil {
		t.Errorf("got %d, %v, want nobody", pid, err)
	}
	if _, err := Open(dir, 2); err == nil {
		t.Error("data of schema 1 were opened as schema 2")
	}
	d, err := Read(dir)
	if want := []Order{{1, "tea", 350}, {2, "a cup", 1205}, {3, "milk", 120}}; err != nil || !slices.Equal(d.Orders, want) {
		t.Errorf("got %v, %v, want %v", d.Orders, err, want)
	}
}

func TestWhatIsNoPrice(t *testing.T) {
	for _, price := range []string{"", "3", "3.5", "-3.50", "3,50", "3.500", "three"} {
		if o, err := parse([]byte(`{"id":1,"item":"tea","price":"`+price+`"}`), 1); err == nil {
			t.Errorf("%q: got %d cents", price, o.Cents)
		}
	}
}

// A look at who has the data must not keep a service from having them.
func TestServiceOnlyLooks(t *testing.T) {
	dir := put(t, 1)
	over := make(chan struct{})
	looked := make(chan error, 1)
	go func() {
		for {
			select {
			case <-over:
				looked <- nil
				return
			default:
			}
			if _, err := Service(dir); err != nil && !errors.Is(err, ErrInUse) {
				looked <- err
				return
			}
		}
	}()
	for range 50 {
		s, err := Open(dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(over)
	if err := <-looked; err != nil {
		t.Error(err)
	}
}
