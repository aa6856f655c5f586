/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names that Docker and Podman make up for containers: an adjective, an underscore, a surname,
 * and a digit if the first try was taken. The words are theirs and not a shape: "web_server" has
 * the same shape and is somebody's choice. Both lists are sorted (a test holds them so).
 */
#include "rules/workload.h"

#include "rules/util.h"

#include <string.h>

/* clang-format off */
static const char *const adjectives[] = {
	"admiring", "adoring", "affectionate", "agitated", "amazing", "angry", "awesome",
	"beautiful", "blissful", "bold", "boring", "brave", "busy", "charming", "clever",
	"compassionate", "competent", "condescending", "confident", "cool", "cranky", "crazy",
	"dazzling", "determined", "distracted", "dreamy", "eager", "ecstatic", "elastic", "elated",
	"elegant", "eloquent", "epic", "exciting", "fervent", "festive", "flamboyant", "focused",
	"friendly", "frosty", "funny", "gallant", "gifted", "goofy", "gracious", "great", "happy",
	"hardcore", "heuristic", "hopeful", "hungry", "infallible", "inspiring", "intelligent",
	"interesting", "jolly", "jovial", "keen", "kind", "laughing", "loving", "lucid", "magical",
	"modest", "musing", "mystifying", "naughty", "nervous", "nice", "nifty", "nostalgic",
	"objective", "optimistic", "peaceful", "pedantic", "pensive", "practical", "priceless",
	"quirky", "quizzical", "recursing", "relaxed", "reverent", "romantic", "sad", "serene",
	"sharp", "silly", "sleepy", "stoic", "strange", "stupefied", "suspicious", "sweet",
	"tender", "thirsty", "trusting", "unruffled", "upbeat", "vibrant", "vigilant", "vigorous",
	"wizardly", "wonderful", "xenodochial", "youthful", "zealous", "zen",
};

static const char *const surnames[] = {
	"agnesi", "albattani", "allen", "almeida", "antonelli", "archimedes", "ardinghelli",
	"aryabhata", "austin", "babbage", "banach", "banzai", "bardeen", "bartik", "bassi",
	"beaver", "bell", "benz", "bhabha", "bhaskara", "black", "blackburn", "blackwell", "bohr",
	"booth", "borg", "bose", "bouman", "boyd", "brahmagupta", "brattain", "brown", "buck",
	"burnell", "cannon", "carson", "cartwright", "carver", "cerf", "chandrasekhar",
	"chaplygin", "chatelet", "chatterjee", "chaum", "chebyshev", "clarke", "cohen", "colden",
	"cori", "cray", "curie", "curran", "darwin", "davinci", "dewdney", "dhawan", "diffie",
	"dijkstra", "dirac", "driscoll", "dubinsky", "easley", "edison", "einstein", "elbakyan",
	"elgamal", "elion", "ellis", "engelbart", "euclid", "euler", "faraday", "feistel",
	"fermat", "fermi", "feynman", "franklin", "gagarin", "galileo", "galois", "ganguly",
	"gates", "gauss", "germain", "goldberg", "goldstine", "goldwasser", "golick", "goodall",
	"gould", "greider", "grothendieck", "haibt", "hamilton", "haslett", "hawking",
	"heisenberg", "hellman", "hermann", "herschel", "hertz", "heyrovsky", "hodgkin",
	"hofstadter", "hoover", "hopper", "hugle", "hypatia", "ishizaka", "jackson", "jang",
	"jemison", "jennings", "jepsen", "johnson", "joliot", "jones", "kalam", "kapitsa", "kare",
	"keldysh", "keller", "kepler", "khayyam", "khorana", "kilby", "kirch", "knuth",
	"kowalevski", "lalande", "lamarr", "lamport", "leakey", "leavitt", "lederberg", "lehmann",
	"lewin", "lichterman", "liskov", "lovelace", "lumiere", "mahavira", "margulis",
	"matsumoto", "maxwell", "mayer", "mccarthy", "mcclintock", "mclaren", "mclean", "mcnulty",
	"meitner", "mendel", "mendeleev", "meninsky", "merkle", "mestorf", "mirzakhani",
	"montalcini", "moore", "morse", "moser", "murdock", "napier", "nash", "neumann", "newton",
	"nightingale", "nobel", "noether", "northcutt", "noyce", "panini", "pare", "pascal",
	"pasteur", "payne", "perlman", "pike", "poincare", "poitras", "proskuriakova", "ptolemy",
	"raman", "ramanujan", "rhodes", "ride", "ritchie", "robinson", "roentgen",
	"rosalind", "rubin", "saha", "sammet", "sanderson", "satoshi", "shamir", "shannon", "shaw",
	"shirley", "shockley", "shtern", "sinoussi", "snyder", "solomon", "spence", "stonebraker",
	"sutherland", "swanson", "swartz", "swirles", "taussig", "tesla", "tharp", "thompson",
	"torvalds", "tu", "turing", "varahamihira", "vaughan", "villani", "visvesvaraya",
	"volhard", "wescoff", "wilbur", "wiles", "williams", "williamson", "wilson",
	"wing", "wozniak", "wright", "wu", "yalow", "yonath", "zhukovsky",
};
/* clang-format on */

static bool
word_in(const char *const *words, size_t n, const char *text, size_t len)
{
	size_t lo = 0, hi = n, mid;
	int d;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		d = strncmp(text, words[mid], len);
		if (d == 0 && words[mid][len] == '\0')
			return true;
		if (d > 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

bool
workload_name_is_generated(const char *name)
{
	const char *sep = strchr(name, '_');
	size_t len;

	if (sep == NULL)
		return false;
	len = strlen(sep + 1);
	if (len > 1 && sep[len] >= '0' && sep[len] <= '9')
		len--;
	return word_in(adjectives, ARRAY_SIZE(adjectives), name, (size_t)(sep - name)) &&
	       word_in(surnames, ARRAY_SIZE(surnames), sep + 1, len);
}
