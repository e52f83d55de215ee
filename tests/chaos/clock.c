/* A wall clock that can be moved: preloaded, it adds the seconds in the file $CHAOS_CLOCK to what Python and Redis read.
 *
 * The kernel has one wall clock for all of a machine (time namespaces cover the monotonic ones alone), so it is moved
 * where libc is asked for it. Only the interpreter and Redis are told another time. Ray's own libraries are not: they
 * hand the kernel deadlines by the wall clock, and the kernel's has not moved. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift;
static struct { uintptr_t from, to; } told[4];
static int count;

static int look(struct dl_phdr_info *object, size_t size, void *path) {
  const char *name = *object->dlpi_name ? object->dlpi_name : path;
  const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
  int ours = !strncmp(base, "python", 6) || !strncmp(base, "libpython", 9) || !strncmp(base, "redis-server", 12);
  (void)size;
  for (int i = 0; ours && i < object->dlpi_phnum && count < 4; i++) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    told[count].from = object->dlpi_addr + part->p_vaddr;
    told[count].to = told[count].from + part->p_memsz;
    count++;
  }
  return 0;
}

__attribute__((constructor)) static void begin(void) {
  char path[4096] = {0};
  const char *name = getenv("CHAOS_CLOCK");
  int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0 || readlink("/proc/self/exe", path, sizeof path - 1) < 0) return;
  void *seen = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (seen == MAP_FAILED) return;
  dl_iterate_phdr(look, path);
  shift = seen;
}

static int64_t seconds(const void *caller) {
  for (int i = 0; shift && i < count; i++)
    if ((uintptr_t)caller >= told[i].from && (uintptr_t)caller < told[i].to) return *shift;
  return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int outcome = real ? real(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
  if (!outcome && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    now->tv_sec += seconds(__builtin_return_address(0));
  return outcome;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  int outcome = (int)syscall(SYS_clock_gettime, CLOCK_REALTIME, &precise);
  if (outcome) return outcome;
  now->tv_sec = precise.tv_sec + seconds(__builtin_return_address(0));
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *where) {
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  now.tv_sec += seconds(__builtin_return_address(0));
  if (where) *where = now.tv_sec;
  return now.tv_sec;
}
