package login

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// secured returns base, which clouds.yaml says, with what counts more.
func secured(settings sources, base *tls.Config) (*tls.Config, error) {
	made := &tls.Config{}
	if base != nil {
		made = base.Clone()
	}
	made.MinVersion = tls.VersionTLS12
	if insecure := settings.get("insecure"); insecure.text != "" {
		yes, err := strconv.ParseBool(insecure.text)
		if err != nil {
			return nil, &Fault{"insecure", "Unusable insecure", insecure.origin + " is neither true nor false."}
		}
		made.InsecureSkipVerify = yes
	}
	if ca := settings.get("cacert_file"); ca.text != "" {
		content, err := contentOf(ca)
		if err != nil {
			return nil, &Fault{"cacert_file", "Unusable CA", err.Error()}
		}
		made.RootCAs = x509.NewCertPool()
		if !made.RootCAs.AppendCertsFromPEM(content) {
			return nil, &Fault{"cacert_file", "Unusable CA", "There is no PEM certificate in what " + ca.origin + " names."}
		}
	}
	pair := settings.pick("cert", "key")
	if len(pair) == 0 {
		return made, nil
	}
	cert, err := contentOf(pair["cert"])
	if err != nil {
		return nil, &Fault{"cert", "Unusable client certificate", err.Error()}
	}
	key, err := contentOf(pair["key"])
	if err != nil {
		return nil, &Fault{"key", "Unusable client certificate", err.Error()}
	}
	certificate, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, &Fault{"cert", "Unusable client certificate", "With its key: " + err.Error()}
	}
	made.Certificates = []tls.Certificate{certificate}
	return made, nil
}

// contentOf returns what a setting holds itself, or the content of the file that it names. Errors do not show it:
// it may be a key that lost its first line.
func contentOf(setting value) ([]byte, error) {
	if setting.text == "" {
		return nil, errors.New("`cert` and `key` go together; one of them is missing, whether in the provider block or" +
			" in the environment (OS_CERT, OS_KEY).")
	}
	if strings.Contains(setting.text, "-----BEGIN") {
		return []byte(setting.text), nil
	}
	name := setting.text
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		name = filepath.Join(home, rest)
	}
	content, err := os.ReadFile(name)
	var failed *os.PathError
	if errors.As(err, &failed) {
		return nil, errors.New("The file that " + setting.origin + " names cannot be read: " + failed.Err.Error())
	}
	return content, err
}
