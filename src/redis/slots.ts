// Computes the slots of keys. A Cluster has 16,384 slots.
import calculateSlot from 'cluster-key-slot'

/** Returns the slot of a key or of a hash tag. A key has the slot of its tag, the text between its braces. */
export function slotOf(keyOrTag: string): number {
  return calculateSlot(keyOrTag)
}
