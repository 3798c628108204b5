// The floor: what Node's dgram costs without any DNS. Sends every datagram back with the response bit set.
import { createSocket } from 'node:dgram';
import { isIP } from 'node:net';

const [host, port] = process.argv.slice(2);
const socket = createSocket({ type: 'udp4', lookup: (name, _options, done) => done(null, name, isIP(name)) });
socket.on('message', (bytes, peer) => {
  bytes[2] |= 0x80;
  socket.send(bytes, peer.port, peer.address);
});
socket.bind(Number(port), host, () => console.log('ready'));
