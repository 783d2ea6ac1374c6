/* Before a function that is built twice with all that is inlined into it, for processors that work
 * on four numbers at once as well; both add the same numbers in the same order. Which one is taken
 * is decided when the library is loaded. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif
