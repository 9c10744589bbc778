// Which of a Cluster's 16,384 slots a key lies in.
import calculateSlot from 'cluster-key-slot'

/** Of a key, or of a tag: what stands between a key's braces has the key's slot. */
export function slotOf(keyOrTag: string): number {
  return calculateSlot(keyOrTag)
}
