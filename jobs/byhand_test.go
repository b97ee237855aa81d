package jobs

import (
	"strings"
	"testing"

	"example.org/conc/config"
)

func TestByHandIsWhatAPersonTypes(t *testing.T) {
	node := config.NewNode("web1", map[string]string{
		"bundle": "shop-bundle", "venv": "venvs/my shop", "admin": "deploy", "sshd.ip": "192.0.2.11", "sshd.port": "2222",
	})
	secret := config.SecretToken("db")
	for _, tt := range []struct{ words, want string }{
		{"open_bundle", "mkdir shop-bundle"},
		{"close_bundle", "rm -r shop-bundle"},
		{"run|echo|a b|it's|" + secret, `echo 'a b' 'it'"'"'s' '` + config.Masked + `'`},
		{"run|~/my shop/bin/x|~/y", `~/'my shop/bin/x' '~/y'`},
		{"run|bundle:install.sh", "~/shop-bundle/install.sh"},
		{"shell|cd x && ls", `/bin/sh -c 'cd x && ls'`},
		{"hold|look\nhere", "# hold: look here"},
		{"systemd|--user|restart|shop", "systemctl --user restart shop"},
		{"wait_port|80", "until nc -z localhost 80; do sleep 1; done"},
		{"wait_http|http://x/?a&b", `until test "$(curl -s -o /dev/null -w '%{http_code}' 'http://x/?a&b')" = 200; do sleep 1; done`},
		{"create_venv", "python3 -m venv --without-pip 'venvs/my shop'"},
		{"create_venv|~/v|python=python3.11", "python3.11 -m venv --without-pip ~/v"},
		{"unmount_sshfs", "fusermount -u ~/shop-bundle"},
		{"mount_sshfs|far", "sshfs -p 2222 deploy@192.0.2.11:shop-bundle far"},
		{"setup_install|pip-*|venv=v", "if v/bin/python -c 'import pip, setuptools' 2>/dev/null; then " +
			"v/bin/python -m " + strings.Join(pipInstall, " ") + " --no-deps --no-build-isolation ~/shop-bundle/pip-*/; else " +
			"(cd ~/shop-bundle/pip-*/ && \"$OLDPWD\"/v/bin/python " + strings.Join(setupPy, " ") + "); fi   # one of distutils: without " + ownOption},
		{"pip_install|a-*.gz", "'venvs/my shop/bin/python' -m " + strings.Join(pipInstall, " ") + " --find-links ~/shop-bundle" +
			" $('venvs/my shop/bin/python' -c 'import setuptools' 2>/dev/null && echo --no-build-isolation) ~/shop-bundle/a-*.gz"},
		{"pip_install|a-*.whl|venv=v", "v/bin/python -m " + strings.Join(pipInstall, " ") + " --find-links ~/shop-bundle ~/shop-bundle/a-*.whl"},
	} {
		op, err := Stock().make(strings.Split(tt.words, "|"))
		if err != nil {
			t.Errorf("%s: %v", tt.words, err)
			continue
		}
		if got := config.Mask(strings.Join(op.(ByHander).ByHand(node), "\n")); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.words, got, tt.want)
		}
	}
}

// On the workstation a relative source is beside deploy.ini, not in the bundle.
func TestByHandOnTheWorkstation(t *testing.T) {
	node := config.NewNode("web1", map[string]string{"bundle": "b"})
	for _, op := range []Op{Template{Source: "app.in", Destination: "app.conf"}, Untar{Archive: "app.tar", To: "x"}} {
		there := strings.Join(op.(ByHander).ByHand(node), "\n")
		here := strings.Join(op.(whereabouts).on(Local).(ByHander).ByHand(node), "\n")
		if !strings.Contains(there, " ~/b/app.") || !strings.Contains(here, " app.") || strings.Contains(here, "~/b") {
			t.Errorf("there: %s\nhere: %s", there, here)
		}
	}
}

func TestEveryOpCanBeDoneByHand(t *testing.T) {
	for _, e := range Stock() {
		line := strings.NewReplacer("%(venv)s", "v", "%(version)s", "1", "%(http.port)s", "80").Replace(e.Example)
		node := config.NewNode("web1", map[string]string{"bundle": "b", "venv": "v", "sshd.port": "22"})
		var op Op
		// HOST and modifiers stand before the op's name.
		words := strings.Fields(line)
		for i, w := range words {
			if w == e.Name {
				op, _ = e.Parse(words[i+1:])
				if e.Name == "shell" || e.Name == "hold" {
					op, _ = e.Parse([]string{"x"})
				}
				break
			}
		}
		h, ok := op.(ByHander)
		if !ok || len(h.ByHand(node)) == 0 {
			t.Errorf("%s: no line for a person to type", e.Name)
		}
	}
}
