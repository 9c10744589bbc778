// What the gateway keeps of a TLS connection after its handshake.
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, onTestFinished, test, vi } from 'vitest'
import { TrustedProxies } from '../../src/gateway/http/client-address.js'
import { ClientConnections, type ClientConnection } from '../../src/gateway/http/client-connections.js'
import { UnauthenticatedSockets } from '../../src/gateway/http/unauthenticated-sockets.js'
import { systemClock } from '../../src/time.js'
import { makeCertificate } from '../support/certificates.js'
import { deadlineMs } from '../support/waiting.js'

async function certificate() {
  const folder = await mkdtemp(join(tmpdir(), 'parley-tls-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const files = await makeCertificate(folder, 'server')
  return { cert: await readFile(files.cert, 'utf8'), key: await readFile(files.key, 'utf8') }
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
}

test('an authenticated client of an open connection leaves nothing in the table of handshakes', async () => {
  const files = await certificate()
  const connections = new ClientConnections({
    proxies: new TrustedProxies([]),
    proxyProtocol: false,
    sockets: new UnauthenticatedSockets({}, { clock: systemClock, onMajority: () => {} }),
    proxyHeaderTimeoutMs: 5_000,
    onCut: () => {},
  })
  const server = createServer(files)
  connections.intercept(server, server)
  const kept: WeakRef<ClientConnection>[] = []
  server.on('upgrade', (_request, socket) => {
    const connection = connections.take(socket)
    if (!connection) throw new Error('the connection is not known')
    connection.gate?.release()
    connection.gate = undefined
    connection.authenticated()
    kept.push(new WeakRef(connection))
    socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    client.destroy()
    server.close()
    await once(server, 'close')
  })
  const client = connect({
    port: (server.address() as AddressInfo).port,
    ca: files.cert,
    servername: 'localhost',
  })
  client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  await once(client, 'data')
  await vi.waitFor(() => {
    collectGarbage()
    expect(kept.map((reference) => reference.deref())).toEqual([undefined])
  }, deadlineMs)
  expect(client.destroyed).toBe(false)
})
