// The PROXY protocol, version 2: a binary header by which a balancer that forwards bytes tells the address of
// its client, before the first byte of TLS or HTTP. The specification is proxy-protocol.txt of HAProxy.
import { SocketAddress, type Socket } from 'node:net'
import { plainAddress } from './client-address.js'

const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const fixedBytes = 16
/** The longest header. Addresses take 36 bytes; the rest has room for certificates in TLVs. */
const headerBytesMax = 4_096

/** Why a header was not accepted; a label of a metric. */
export type ProxyHeaderFailure = 'proxy_header_missing' | 'proxy_header_malformed' | 'proxy_header_timeout'

/**
 * The result of reading the first bytes of a connection. `client` is undefined when the balancer speaks for
 * itself (a health check), or for a client without an IP address.
 */
export type ProxyHeader =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'failed'; readonly reason: ProxyHeaderFailure }
  | { readonly kind: 'complete'; readonly client: string | undefined; readonly bytes: number }

const malformed: ProxyHeader = { kind: 'failed', reason: 'proxy_header_malformed' }

/** Parses a header at the start of `bytes`. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  const known = Math.min(bytes.byteLength, signature.byteLength)
  if (bytes.compare(signature, 0, known, 0, known) !== 0)
    return { kind: 'failed', reason: 'proxy_header_missing' }
  if (bytes.byteLength < fixedBytes) return { kind: 'incomplete' }
  const [versionAndCommand = 0, familyAndTransport = 0] = bytes.subarray(12, 14)
  const length = fixedBytes + bytes.readUInt16BE(14)
  const command = versionAndCommand & 0x0f
  if (versionAndCommand >> 4 !== 2 || command > 1 || length > headerBytesMax) return malformed
  if (bytes.byteLength < length) return { kind: 'incomplete' }
  if (command === 0) return { kind: 'complete', client: undefined, bytes: length }
  const addresses = bytes.subarray(fixedBytes, length)
  switch (familyAndTransport) {
    case 0x00:
      return { kind: 'complete', client: undefined, bytes: length }
    case 0x11:
      if (addresses.byteLength < 12) return malformed
      return { kind: 'complete', client: addresses.subarray(0, 4).join('.'), bytes: length }
    case 0x21:
      if (addresses.byteLength < 36) return malformed
      return { kind: 'complete', client: addressOf(addresses.subarray(0, 16)), bytes: length }
    default:
      // UDP and Unix sockets cannot carry a client of this port.
      return malformed
  }
}

function addressOf(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16))
  return plainAddress(new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address)
}

export interface ProxyHeaderReader {
  readonly timeoutMs: number
  /** Called once, unless the connection closes first. The bytes after the header are back in the socket. */
  readonly onRead: (client: string | undefined) => void
  readonly onFailed: (reason: ProxyHeaderFailure) => void
}

/** Reads the header from a new connection. A connection that closes before its first byte is a probe. */
export function readProxyHeader(socket: Socket, { onFailed, onRead, timeoutMs }: ProxyHeaderReader): void {
  let received: Buffer = Buffer.alloc(0)
  const timeout = setTimeout(() => settle(() => onFailed('proxy_header_timeout')), timeoutMs)
  const settle = (act: () => void): void => {
    clearTimeout(timeout)
    socket.off('readable', onReadable)
    socket.off('end', onEnd)
    socket.off('close', onEnd)
    socket.off('error', ignore)
    if (!socket.destroyed) act()
  }
  const onEnd = (): void => settle(() => socket.destroy())
  const onReadable = (): void => {
    const chunk: unknown = socket.read()
    if (!Buffer.isBuffer(chunk)) return
    received = received.byteLength === 0 ? chunk : Buffer.concat([received, chunk])
    const header = parseProxyHeader(received)
    if (header.kind === 'incomplete') return
    if (header.kind === 'failed') return settle(() => onFailed(header.reason))
    settle(() => {
      if (received.byteLength > header.bytes) socket.unshift(received.subarray(header.bytes))
      onRead(header.client)
    })
  }
  socket.on('readable', onReadable)
  socket.on('end', onEnd)
  socket.on('close', onEnd)
  socket.on('error', ignore)
}

function ignore(): void {}
