/** Sound as a file. */

const HEADER = 44 // bytes

/** Frames of mono PCM16, each an `ArrayBuffer`, as a wav. */
export function wav(frames, rate) {
  const length = frames.reduce((sum, {byteLength}) => sum + byteLength, 0)
  const header = new DataView(new ArrayBuffer(HEADER))
  const name = (at, letters) => [...letters].forEach((letter, index) => header.setUint8(at + index, letter.charCodeAt(0)))
  name(0, "RIFF")
  header.setUint32(4, HEADER - 8 + length, true)
  name(8, "WAVEfmt ")
  header.setUint32(16, 16, true) // bytes that say how the sound is written
  header.setUint16(20, 1, true) // PCM
  header.setUint16(22, 1, true) // channel
  header.setUint32(24, rate, true)
  header.setUint32(28, 2 * rate, true) // bytes a second
  header.setUint16(32, 2, true) // and a sample
  header.setUint16(34, 16, true) // bits of it
  name(36, "data")
  header.setUint32(40, length, true)
  return new Blob([header, ...frames], {type: "audio/wav"})
}
