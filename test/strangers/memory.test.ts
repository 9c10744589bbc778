// A gateway process under requests whose responses nobody reads keeps its memory.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { DevProcess } from '../support/dev-process.js'

const dev = await DevProcess.start()
afterAll(() => dev.stop())

/** The bar is wide, since memory depends on the garbage collector; without the limits it grew by 1,500 MB. */
const growthBytesMax = 150 * 1024 * 1024

const rssBytes = (): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${dev.pid}/status`, 'utf8'))?.[1]) * 1024

/** Sends packets of 64 KiB for `ms`, reads nothing, and connects again whenever it is cut. */
async function attack(request: string, ms: number): Promise<void> {
  const packet = Buffer.from(request.repeat(Math.ceil(65_536 / request.length)))
  const sockets = new Set<Socket>()
  let ended = false
  const open = (): void => {
    const socket = connect({ port: dev.port, host: '127.0.0.1' })
    sockets.add(socket)
    const send = (): void => {
      while (!socket.destroyed && socket.write(packet)) if (socket.writableLength > 1_000_000) break
    }
    socket.on('connect', send)
    socket.on('drain', send)
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      if (!ended) setTimeout(() => !ended && open(), 10)
    })
    socket.pause()
  }
  for (let n = 0; n < 40; n += 1) open()
  await sleep(ms)
  ended = true
  await Promise.all(
    [...sockets].map((socket) => {
      const closed = once(socket, 'close')
      socket.destroy()
      return closed
    }),
  )
}

test.each([
  ['documents', 'GET /api/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['unknown paths', 'GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['assets of the page', 'GET /page.js HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['empty lines', '\r\n\r\n'],
  [
    'bodies in chunks with requests behind them',
    'POST /nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
])('pipelined requests of %s', async (_what, request) => {
  const before = rssBytes()
  await attack(request, 2_000)
  expect(rssBytes() - before).toBeLessThan(growthBytesMax)
  const answer = await fetch(`${dev.url}api/openapi.json`)
  expect(answer.status).toBe(200)
})
