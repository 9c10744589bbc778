// The operators' port, should a stranger reach it: one request at a time on each connection.
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, onTestFinished, test, vi } from 'vitest'
import { OpsServer } from '../../src/gateway/http/ops-server.js'
import { RawClient } from '../support/raw-client.js'
import { targetGateway } from '../support/raw-gateway.js'
import { deadlineMs } from '../support/waiting.js'

const target = targetGateway()
const get = (path: string, headers = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`

async function openPort(): Promise<number> {
  const server = new OpsServer(target.running.gateway)
  const { port } = await server.listen(0, '127.0.0.1')
  onTestFinished(() => server.close())
  return port
}

test('pipelined requests are answered in order', async () => {
  const client = await RawClient.connect(await openPort())
  client.write(
    get('/healthz') + get('/nothing') + get('/metrics') + get('/healthz', 'Expect: 100-continue\r\n'),
  )
  for (const status of [200, 404, 200, 200]) expect(await client.answer()).toMatchObject({ status })
  client.destroy()
})

test('only one of many pipelined requests is handled while its response is not read', async () => {
  const port = await openPort()
  const { gateway } = target.running
  const read = vi.spyOn(gateway.metrics.registry, 'metrics')
  const socket = connect({ port, host: '127.0.0.1' }).on('error', () => {})
  await once(socket, 'connect')
  socket.pause()
  socket.write(get('/metrics').repeat(1_900))
  await vi.waitFor(async () => {
    const { values } = await gateway.metrics.cutConnections.get()
    expect(values.find(({ labels }) => labels.reason === 'pipelining')?.value).toBe(1)
  }, deadlineMs)
  expect(read.mock.calls.length).toBeLessThan(3)
  read.mockRestore()
  socket.destroy()
})
