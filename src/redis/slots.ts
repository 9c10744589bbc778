// The slot of a key: one of the 16,384 of a Cluster.
import calculateSlot from 'cluster-key-slot'

/** Returns the slot of a key or of a hash tag. A key has the slot of its tag, the text between its braces. */
export function slotOf(keyOrTag: string): number {
  return calculateSlot(keyOrTag)
}
