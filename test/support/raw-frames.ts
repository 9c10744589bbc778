// Builds and reads WebSocket frames byte by byte, including invalid ones.
import { randomBytes } from 'node:crypto'

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export interface RawFrame {
  readonly opcode: number
  readonly payload?: Buffer | string
  /** Default: true. */
  readonly fin?: boolean
  /** The three reserved bits, 1 to 7: 4 is RSV1, which compression uses. */
  readonly rsv?: number
  /** Default: true, as clients must. */
  readonly masked?: boolean
  /** The encoding of the length: 7, 16 or 64 bits. Default: the shortest that fits. */
  readonly lengthBits?: 7 | 16 | 64
  /** A false length. Default: the length of the payload. */
  readonly length?: bigint
}

export function frame(raw: RawFrame): Buffer {
  const { fin = true, masked = true, opcode, rsv = 0 } = raw
  const payload = Buffer.from(raw.payload ?? '')
  const length = raw.length ?? BigInt(payload.byteLength)
  const lengthBits = raw.lengthBits ?? (length < 126n ? 7 : length < 65_536n ? 16 : 64)
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  const head: Buffer[] = [Buffer.from([first, (masked ? 0x80 : 0) | lengthByte(length, lengthBits)])]
  if (lengthBits === 16) head.push(bigEndian(length).subarray(6))
  if (lengthBits === 64) head.push(bigEndian(length))
  if (!masked) return Buffer.concat([...head, payload])
  const mask = randomBytes(4)
  const scrambled = payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))
  return Buffer.concat([...head, mask, scrambled])
}

function lengthByte(length: bigint, bits: 7 | 16 | 64): number {
  return bits === 7 ? Number(length) : bits === 16 ? 126 : 127
}

function bigEndian(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

export const text = (payload: Buffer | string, rest: Partial<RawFrame> = {}): Buffer =>
  frame({ opcode: opcodes.text, payload, ...rest })
export const continuation = (payload: Buffer | string, rest: Partial<RawFrame> = {}): Buffer =>
  frame({ opcode: opcodes.continuation, payload, ...rest })
export const ping = (payload: Buffer | string = ''): Buffer => frame({ opcode: opcodes.ping, payload })

/** A close frame; empty without a code. */
export function close(code?: number, reason: Buffer | string = ''): Buffer {
  const payload = Buffer.concat([code === undefined ? Buffer.alloc(0) : twoBytes(code), Buffer.from(reason)])
  return frame({ opcode: opcodes.close, payload })
}

function twoBytes(code: number): Buffer {
  return Buffer.from([code >> 8, code & 0xff])
}

/** `message` in frames of at most `bytesEach` bytes, the last of them final. */
export function fragments(message: Buffer | string, bytesEach: number): Buffer[] {
  const payload = Buffer.from(message)
  const pieces: Buffer[] = []
  for (let at = 0; at < payload.byteLength; at += bytesEach) {
    const rest = { fin: at + bytesEach >= payload.byteLength }
    const piece = payload.subarray(at, at + bytesEach)
    pieces.push(at === 0 ? text(piece, rest) : continuation(piece, rest))
  }
  return pieces
}

export interface ServerFrame {
  readonly fin: boolean
  readonly rsv: number
  readonly opcode: number
  readonly masked: boolean
  readonly payload: Buffer
}

/** The first complete frame in `bytes` and its length in bytes. Undefined while it is incomplete. */
export function readFrame(bytes: Buffer): { frame: ServerFrame; taken: number } | undefined {
  if (bytes.byteLength < 2) return undefined
  const first = bytes.readUInt8(0)
  const second = bytes.readUInt8(1)
  const short = second & 0x7f
  const headBytes = short === 126 ? 4 : short === 127 ? 10 : 2
  if (bytes.byteLength < headBytes) return undefined
  const length =
    short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short
  const taken = headBytes + length
  if (bytes.byteLength < taken) return undefined
  const payload = bytes.subarray(headBytes, taken)
  return {
    taken,
    frame: {
      fin: first >= 0x80,
      rsv: (first >> 4) & 7,
      opcode: first & 0x0f,
      masked: second >= 0x80,
      payload,
    },
  }
}
