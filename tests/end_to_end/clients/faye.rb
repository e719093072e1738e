# Usage: ruby faye.rb URL PROXY CA
require "eventmachine"
require "faye/websocket"

url, proxy, ca = ARGV

EM.run do
  ws = Faye::WebSocket::Client.new(url, [], proxy: { origin: proxy }, tls: { root_cert_file: ca })

  ws.on(:open) { ws.send("buy é 🎉") }
  ws.on(:message) do |event|
    if event.data.is_a?(String)
      puts "text #{event.data}"
      ws.send([0, 1, 254, 255])
    else
      puts "binary #{event.data.pack("C*").unpack1("H*")}"
      ws.close(4001, "bye")
    end
  end
  ws.on(:error) { |event| puts "error #{event.message}" }
  ws.on(:close) { EM.stop }
end
