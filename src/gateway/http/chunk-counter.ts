// Counts the chunks of a body with `Transfer-Encoding: chunked`. Node's parser takes about 2 µs for each
// chunk, however small: a packet of 64 KiB with one byte per chunk takes 20 ms of the event loop.

/** Chunks of any size that a body may have. */
const smallChunksMax = 256
/** The average size of the chunks in a body that has more of them. */
const averageBytesMin = 64

const lineFeed = 0x0a

export class ChunkCounter {
  #chunks = 0
  #bytes = 0
  /** The rest of the current chunk and its line break. */
  #left = 0
  /** The size in the line that begins a chunk, as far as it was read. */
  #size = 0
  #isReadingSize = true
  #ended = false

  /**
   * Takes further bytes of the body. Returns false once its chunks are too many and too small. The bytes only
   * have to be counted: the parser refuses those that are not valid.
   */
  accept(bytes: Buffer): boolean {
    for (let at = 0; at < bytes.byteLength && !this.#ended;) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, bytes.byteLength - at)
        this.#left -= skipped
        at += skipped
      } else {
        this.#readSize(bytes[at] ?? lineFeed)
        at += 1
        if (this.#chunks > smallChunksMax && this.#bytes < this.#chunks * averageBytesMin) return false
      }
    }
    return true
  }

  #readSize(byte: number): void {
    if (byte === lineFeed) {
      this.#chunks += 1
      this.#bytes += this.#size
      this.#left = this.#size + 2
      // After the last chunk, trailers follow instead of another one.
      this.#ended = this.#size === 0
      this.#size = 0
      this.#isReadingSize = true
      return
    }
    const digit = this.#isReadingSize ? Number.parseInt(String.fromCharCode(byte), 16) : Number.NaN
    if (Number.isNaN(digit)) this.#isReadingSize = false
    else this.#size = this.#size * 16 + digit
  }
}
