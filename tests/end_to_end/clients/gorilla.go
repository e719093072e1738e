// Usage: gorilla URL PROXY CA
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

func dialer(proxy, ca string) *websocket.Dialer {
	address, err := url.Parse(proxy)
	check(err)
	pem, err := os.ReadFile(ca)
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)

	return &websocket.Dialer{
		Proxy:             http.ProxyURL(address),
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		EnableCompression: true,
	}
}

func main() {
	ws, _, err := dialer(os.Args[2], os.Args[3]).Dial(os.Args[1], nil)
	check(err)
	check(ws.WriteMessage(websocket.TextMessage, []byte("buy é 🎉")))
	_, text, err := ws.ReadMessage()
	check(err)
	fmt.Printf("text %s\n", text)
	check(ws.WriteMessage(websocket.BinaryMessage, []byte{0, 1, 254, 255}))
	_, binary, err := ws.ReadMessage()
	check(err)
	fmt.Printf("binary %x\n", binary)
	goodbye := websocket.FormatCloseMessage(4001, "bye")
	check(ws.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Minute)))
	_, _, err = ws.ReadMessage()
	if closed, ok := err.(*websocket.CloseError); ok {
		fmt.Println("closed", closed.Code, closed.Text)
	} else {
		log.Fatal(err)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
